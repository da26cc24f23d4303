/** What etcd's refusals mean, and what a person should do. */
import { ApiError } from "../kube/client.ts";

/** etcd answered, and the answer is no. */
export function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && [400, 401, 403].includes(error.status) &&
    !/leader/.test(error.message);
}

export function isStaleToken(error: unknown): boolean {
  return error instanceof ApiError &&
    /invalid auth token|revision of auth store is old/.test(error.message);
}

/** The part of the access that a hint names. */
interface Asked {
  endpoints: readonly string[];
  username?: string;
}

/** What a person should do. */
export function hint(message: string, { username, endpoints }: Asked): string {
  if (/user name is empty/.test(message)) return "; give etcd.username and etcd.passwordFile";
  if (/invalid user ID or password/.test(message)) {
    return `; look at etcd.username (${username}) and etcd.passwordFile`;
  }
  if (/permission denied/.test(message)) {
    return `; grant ${
      username === undefined ? "it" : `a role of user ${username}`
    }: etcdctl role grant-permission ROLE read --prefix=true /nodes/`;
  }
  if (/CommonName of client/.test(message)) {
    return "; with users, etcd's gateway takes only client certificates without a common name, e.g. subject /O=pcnk";
  }
  if (/UnknownIssuer/.test(message)) return "; look at etcd.ca";
  if (/Certificate ?Required|Bad ?Certificate/i.test(message)) {
    return "; give etcd.cert and etcd.key";
  }
  if (/\b404\b/.test(message)) return "; is it an etcd server, version 3.4 or newer?";
  return endpoints.length === 0 ? "; give etcd_url" : "";
}
