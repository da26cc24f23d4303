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
    const root = fields(load(content, { schema: CORE_SCHEMA }), []);
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
  const server = text(cluster.server, [...at, "server"])?.replace(/\/+$/, "") ?? "";
  if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol)) {
    throw new DecodeError([...at, "server"], `${JSON.stringify(server)} is not a URL`);
  }
  const ca = pem(cluster, "certificate-authority", at, file);
  const tlsServerName = text(cluster["tls-server-name"], [...at, "tls-server-name"]);
  const proxyUrl = text(cluster["proxy-url"], [...at, "proxy-url"]);
  const key = "insecure-skip-tls-verify";
  const insecure = flag(cluster[key], [...at, key], false);
  if (proxyUrl && (insecure || tlsServerName)) {
    const other = insecure ? key : "tls-server-name";
    throw new DecodeError([...at, "proxy-url"], `is not supported together with ${other}`);
  }
  return {
    server,
    insecure,
    ca,
    tlsServerName: tlsServerName || undefined,
    proxyUrl: proxyUrl || undefined,
  };
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
    if (value) identity[key] = value;
  }
  const tokenFile = text(user.tokenFile, [...at, "tokenFile"]);
  if (tokenFile) identity.tokenFile = absolute(tokenFile, file);
  const cert = pem(user, "client-certificate", at, file);
  const key = pem(user, "client-key", at, file);
  if ((cert === undefined) !== (key === undefined)) {
    throw new DecodeError(at, "client-certificate and client-key belong together");
  }
  if (cert !== undefined && key !== undefined) Object.assign(identity, { cert, key });
  if (user.exec !== undefined && user.exec !== null) {
    identity.exec = execPlugin(fields(user.exec, [...at, "exec"]), [...at, "exec"], file);
  }
  return identity;
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
