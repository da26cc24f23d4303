/**
 * kubeconfig files, and the credentials that Kubernetes puts into a pod.
 *
 * Of kubeconfig everything that says how to reach a server and who one is; not the old `auth-provider` (removed from
 * client-go in 1.26), which is named in the error. No merging of several files (KUBECONFIG=a:b): an agent is given one.
 */
import { CORE_SCHEMA, load } from "js-yaml";
import { isAbsolute, join } from "node:path";
import { DecodeError, type Fields, fields, flag, list, type Path, text } from "../reader.ts";
import { type Access, AccessError, type ExecPlugin, type Identity, type Pem } from "./access.ts";
import { readText } from "./access.ts";
import { isAddress } from "../../net/address.ts";
import { joinHostPort } from "../../net/host_port.ts";

/** Where a pod finds its token and CA. */
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * Reads the current context of a kubeconfig file.
 * @throws {AccessError} naming the file and what is wrong in it
 */
export function loadKubeconfig(file: string): Access {
  return parseKubeconfig(readText(file), file);
}

/** @param file for messages, and what relative paths are relative to */
export function parseKubeconfig(content: string, file: string): Access {
  try {
    const root = fields(load(content, { schema: CORE_SCHEMA, json: true }), []);
    const name = text(root["current-context"], ["current-context"]) ?? "";
    if (name === "") throw new DecodeError(["current-context"], "is missing");
    const context = entry(root, "contexts", "context", name);
    const cluster = named(context, "cluster");
    const user = named(context, "user");
    return {
      from: file,
      ...clusterOf(entry(root, "clusters", "cluster", cluster), ["clusters", cluster], file),
      identity: user === "" ? {} : identityOf(entry(root, "users", "user", user), user, file),
    };
  } catch (error) {
    if (error instanceof AccessError) throw error;
    throw new AccessError(`${file}: ${(error as Error).message.split("\n")[0]}`);
  }
}

function named(context: Fields, key: string): string {
  return text(context[key], ["contexts", key]) ?? "";
}

/** The `key` part of the entry called `name` in one of the file's lists. */
function entry(root: Fields, section: string, key: string, name: string): Fields {
  const found = list(root[section], [section]).find((item) =>
    fields(item, [section]).name === name
  );
  if (found === undefined) throw new DecodeError([section], `there is none named ${name}`);
  return fields((found as Fields)[key], [section, name, key]);
}

function clusterOf(cluster: Fields, at: Path, file: string): Omit<Access, "from" | "identity"> {
  const ca = pem(cluster, "certificate-authority", at, file);
  const key = "insecure-skip-tls-verify";
  const insecure = flag(cluster[key], [...at, key], false);
  if (insecure && ca !== undefined) {
    throw new DecodeError([...at, key], "excludes a certificate-authority: leave one of them out");
  }
  const extensions = list(cluster.extensions, [...at, "extensions"]).map((item, i) =>
    fields(item, [...at, "extensions", i])
  );
  const exec = extensions.find(({ name }) => name === "client.authentication.k8s.io/exec");
  return {
    execConfig: exec?.extension,
    server: serverUrl(cluster, at, insecure || ca !== undefined),
    insecure,
    ca,
    tlsServerName: serverName(cluster, at),
    proxyUrl: proxyUrl(cluster, at),
  };
}

/** client-go's DefaultServerURL(): without a scheme it is https where TLS is configured, else http. */
function serverUrl(cluster: Fields, path: Path, tls: boolean): string {
  const at = [...path, "server"];
  const given = text(cluster.server, at) ?? "";
  if (given === "") throw new DecodeError(at, "is missing");
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(given) ? given : `http${tls ? "s" : ""}://${given}`;
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  if (url?.username || url?.password) {
    throw new DecodeError(at, "holds a name or password: write them into the user's entry");
  }
  if (url === undefined || !/^https?:$/.test(url.protocol) || /[?#]/.test(given)) {
    throw new DecodeError(at, `${JSON.stringify(given)} is not a URL like https://192.0.2.1:6443`);
  }
  return url.href.replace(/\/+$/, "");
}

function serverName(cluster: Fields, path: Path): string | undefined {
  const at = [...path, "tls-server-name"];
  const name = text(cluster["tls-server-name"], at);
  if (!name) return undefined;
  if (!isAddress(name) && !/^[a-z0-9_]([a-z0-9_.-]{0,252})$/i.test(name)) {
    throw new DecodeError(at, `${JSON.stringify(name)} is not a host name`);
  }
  return name;
}

/** Never quoted: it may hold a password. */
function proxyUrl(cluster: Fields, path: Path): string | undefined {
  const at = [...path, "proxy-url"];
  const given = text(cluster["proxy-url"], at);
  if (!given) return undefined;
  if (!URL.canParse(given) || !/^(https?|socks5h?):$/.test(new URL(given).protocol)) {
    throw new DecodeError(at, "is not a URL like http://192.0.2.1:3128 (http, https or socks5)");
  }
  return given;
}

function identityOf(user: Fields, name: string, file: string): Identity {
  const at = ["users", name];
  if (user["auth-provider"] !== undefined && user["auth-provider"] !== null) {
    throw new DecodeError(
      [...at, "auth-provider"],
      "is not supported, as in Kubernetes since 1.26; use exec",
    );
  }
  const identity: Identity = {};
  for (const key of ["token", "username", "password"] as const) {
    const value = text(user[key], [...at, key]);
    if (!value) continue;
    if (key === "token" && /[^\x21-\x7e]/.test(value)) {
      throw new DecodeError([...at, key], "holds characters that no token has");
    }
    identity[key] = value;
  }
  const tokenFile = text(user.tokenFile, [...at, "tokenFile"]);
  if (tokenFile) identity.tokenFile = absolute(tokenFile, file);
  const cert = pem(user, "client-certificate", at, file);
  const key = pem(user, "client-key", at, file);
  if ((cert === undefined) !== (key === undefined)) {
    throw new DecodeError(at, "client-certificate and client-key belong together");
  }
  if (cert !== undefined && key !== undefined) Object.assign(identity, { cert, key });
  const headers = impersonation(user, at);
  if (Object.keys(headers).length > 0) identity.headers = headers;
  if (user.exec !== undefined && user.exec !== null) {
    identity.exec = execPlugin(fields(user.exec, [...at, "exec"]), [...at, "exec"], file);
  }
  return identity;
}

/** `as`, `as-uid`, `as-groups` and `as-user-extra`, as headers. Deno's fetch sends one line a header, hence one value. */
function impersonation(user: Fields, at: Path): Record<string, string> {
  const headers: Record<string, string> = {};
  const add = (name: string, value: string | undefined, key: string) => {
    if (!value) return;
    if (/[^\x21-\x7e]/.test(name) || /[^\x20-\x7e]/.test(value)) {
      throw new DecodeError([...at, key], "must be printable ASCII");
    }
    headers[name] = value;
  };
  const one = (value: unknown, key: string) => {
    const values = list(value, [...at, key]);
    if (values.length > 1) throw new DecodeError([...at, key], "may have one value");
    return text(values[0], [...at, key]);
  };
  add("impersonate-user", text(user.as, [...at, "as"]), "as");
  add("impersonate-uid", text(user["as-uid"], [...at, "as-uid"]), "as-uid");
  add("impersonate-group", one(user["as-groups"], "as-groups"), "as-groups");
  const key = "as-user-extra";
  for (const [name, values] of Object.entries(fields(user[key], [...at, key]))) {
    add(`impersonate-extra-${encodeURIComponent(name.toLowerCase())}`, one(values, key), key);
  }
  if (Object.keys(headers).length > 0 && headers["impersonate-user"] === undefined) {
    throw new DecodeError([...at, "as"], "is missing beside the other as- fields");
  }
  return headers;
}

function execPlugin(given: Fields, at: Path, file: string): ExecPlugin {
  const command = text(given.command, [...at, "command"]) ?? "";
  if (command === "") throw new DecodeError([...at, "command"], "is missing");
  const apiVersion = text(given.apiVersion, [...at, "apiVersion"]) ?? "";
  if (!/^client\.authentication\.k8s\.io\/v1(beta1|alpha1)?$/.test(apiVersion)) {
    throw new DecodeError(
      [...at, "apiVersion"],
      "must be client.authentication.k8s.io/v1 or v1beta1",
    );
  }
  if (given.interactiveMode === "Always") {
    throw new DecodeError([...at, "interactiveMode"], "is Always: the agent has no terminal");
  }
  const env: Record<string, string> = {};
  list(given.env, [...at, "env"]).forEach((item, i) => {
    const here = [...at, "env", i];
    const { name, value } = fields(item, here);
    env[text(name, here) ?? ""] = text(value, here) ?? "";
  });
  return {
    apiVersion,
    // As client-go: with a slash it is a path, relative to the file; without one it is looked for in PATH.
    command: command.includes("/") ? absolute(command, file) : command,
    args: list(given.args, [...at, "args"]).map((arg, i) => text(arg, [...at, "args", i]) ?? ""),
    env,
    provideClusterInfo: flag(given.provideClusterInfo, [...at, "provideClusterInfo"], false),
    installHint: text(given.installHint, [...at, "installHint"]) || undefined,
  };
}

/** `KEY-data` (base64) before `KEY` (a path), as in client-go. */
function pem(given: Fields, key: string, at: Path, file: string): Pem | undefined {
  const data = text(given[`${key}-data`], [...at, `${key}-data`]);
  if (data) {
    try {
      return { text: atob(data.replace(/\s+/g, "")) };
    } catch {
      throw new DecodeError([...at, `${key}-data`], "is not base64");
    }
  }
  const path = text(given[key], [...at, key]);
  return path ? { file: absolute(path, file) } : undefined;
}

function absolute(path: string, file: string): string {
  return isAbsolute(path) ? path : join(file, "..", path);
}

/**
 * The credentials of the pod this process runs in.
 * @param env for tests
 * @throws {AccessError} when it is no pod
 */
export function inCluster(
  env: (name: string) => string | undefined = (name) => Deno.env.get(name),
  folder = serviceAccount,
): Access {
  const host = env("KUBERNETES_SERVICE_HOST"), port = env("KUBERNETES_SERVICE_PORT");
  if (!host || !port) {
    throw new AccessError(
      "no kubeconfig is given, and this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give --kubeconfig FILE",
    );
  }
  return {
    server: `https://${joinHostPort(host, Number(port))}`,
    from: folder,
    insecure: false,
    ca: { file: join(folder, "ca.crt") },
    identity: { tokenFile: join(folder, "token") },
  };
}
