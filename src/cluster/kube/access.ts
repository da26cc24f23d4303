/** How the API server is reached: what kubeconfig files and pods say, brought to one form. */

/** PEM text, or the file that holds it; a file is read again whenever it is used. */
export type Pem = { text: string } | { file: string };

/** A command that prints credentials (client-go credential plugins). */
export interface ExecPlugin {
  apiVersion: string;
  command: string;
  args: string[];
  env: Record<string, string>;
  /** What a person should do when the command is not there. */
  installHint?: string;
  provideClusterInfo: boolean;
}

/** How a client says who it is; several of them may be there, as in kubeconfig. */
export interface Identity {
  /** Bearer token. */
  token?: string;
  /** File with a bearer token; before `token`. */
  tokenFile?: string;
  username?: string;
  password?: string;
  cert?: Pem;
  key?: Pem;
  exec?: ExecPlugin;
  /** Sent with each request: impersonation. */
  headers?: Record<string, string>;
}

export interface Access {
  /** `https://192.0.2.1:6443`, without a slash at the end. */
  server: string;
  /** For messages: the kubeconfig's path, or that the pod's own credentials are used. */
  from: string;
  ca?: Pem;
  /** Believe any certificate. */
  insecure: boolean;
  /** Name that the server's certificate is checked against, when it is not the one in `server`. */
  tlsServerName?: string;
  /** http:, https: or socks5: URL; undefined: as HTTPS_PROXY and NO_PROXY say. */
  proxyUrl?: string;
  identity: Identity;
  /** For a credential plugin: the cluster's extension `client.authentication.k8s.io/exec`. */
  execConfig?: unknown;
}

/** What is wrong with the access data, in one line: where, what, what to do. */
export class AccessError extends Error {
  override readonly name = "AccessError";
}

/**
 * The text of a PEM.
 * @throws {AccessError} when its file cannot be read
 */
export function readPem(pem: Pem): string {
  return "text" in pem ? pem.text : readText(pem.file);
}

/** @throws {AccessError} */
export function readText(file: string): string {
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound
      ? "is not there"
      : error instanceof Deno.errors.PermissionDenied
      ? "may not be read"
      : (error as Error).message;
    throw new AccessError(`${file}: ${reason}`);
  }
}
