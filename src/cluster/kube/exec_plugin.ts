/**
 * Credential plugins: a command that prints an ExecCredential (client.authentication.k8s.io). Run without a terminal:
 * an agent has no user to prompt.
 */
import { type Access, AccessError, type ExecPlugin, readPem } from "./access.ts";
import { isFields } from "../reader.ts";
import { toBase64 } from "../base64.ts";

export interface ExecCredential {
  token?: string;
  cert?: string;
  key?: string;
  /** Milliseconds since the epoch; undefined: until the server refuses it. */
  expires?: number;
}

/** A command that takes longer has hung. */
const patienceMs = 60_000;
/** A credential is a few kilobytes. */
const maxOutput = 1 << 20;

/** @throws {AccessError} naming the command and what went wrong */
export async function runExecPlugin(
  plugin: ExecPlugin,
  access: Access,
  signal: AbortSignal,
): Promise<ExecCredential> {
  const ending = new AbortController();
  const end = () => ending.abort();
  const timer = setTimeout(end, patienceMs);
  signal.addEventListener("abort", end);
  try {
    const { success, code, stdout, stderr } = await run(plugin, access, ending);
    if (!success) {
      const said = stderr.trim().split("\n").at(-1) ?? "";
      throw new AccessError(
        ending.signal.aborted
          ? `took longer than ${patienceMs / 1000} s`
          : `ended with ${code}: ${said.slice(0, 200)}`,
      );
    }
    return parseCredential(stdout, plugin.apiVersion);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    const hint = missing && plugin.installHint ? `; ${plugin.installHint}` : "";
    const reason = missing ? `is not there${hint}` : (error as Error).message;
    throw new AccessError(`credential plugin ${plugin.command}: ${reason}`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

/** Until it has ended and closed its output, or `ending` is aborted: a child of its own may hold the pipes open. */
async function run(plugin: ExecPlugin, access: Access, ending: AbortController) {
  const child = new Deno.Command(plugin.command, {
    args: plugin.args,
    env: { ...plugin.env, KUBERNETES_EXEC_INFO: JSON.stringify(execInfo(plugin, access)) },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: ending.signal,
  }).spawn();
  const [{ success, code }, stdout, stderr] = await Promise.all([
    child.status,
    readBounded(child.stdout, ending),
    readBounded(child.stderr, ending),
  ]);
  return { success, code, stdout, stderr };
}

async function readBounded(stream: ReadableStream<Uint8Array>, ending: AbortController) {
  const reader = stream.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  ending.signal.addEventListener("abort", cancel);
  if (ending.signal.aborted) cancel();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += decoder.decode(value, { stream: true });
    if (text.length <= maxOutput) continue;
    ending.abort();
    throw new AccessError(`printed more than ${maxOutput >> 10} KiB`);
  }
}

/** KUBERNETES_EXEC_INFO (KEP-541). */
function execInfo(plugin: ExecPlugin, access: Access) {
  const cluster = () => ({
    server: access.server,
    "insecure-skip-tls-verify": access.insecure || undefined,
    "tls-server-name": access.tlsServerName,
    "proxy-url": access.proxyUrl,
    "certificate-authority-data": access.ca && toBase64(readPem(access.ca)),
    config: access.execConfig,
  });
  return {
    apiVersion: plugin.apiVersion,
    kind: "ExecCredential",
    spec: { interactive: false, cluster: plugin.provideClusterInfo ? cluster() : undefined },
  };
}

/** Never quotes what the plugin printed: it is secret. */
export function parseCredential(output: string, apiVersion: string): ExecCredential {
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw new AccessError("printed no JSON");
  }
  if (!isFields(value) || value.kind !== "ExecCredential" || value.apiVersion !== apiVersion) {
    throw new AccessError(`printed no ExecCredential of ${apiVersion}`);
  }
  const status = isFields(value.status) ? value.status : {};
  const text = (key: string) => {
    const found = status[key];
    return typeof found === "string" && found !== "" ? found : undefined;
  };
  const token = text("token"), cert = text("clientCertificateData"), key = text("clientKeyData");
  if (token === undefined && (cert === undefined || key === undefined)) {
    throw new AccessError("printed neither a token nor a certificate with its key");
  }
  const end = text("expirationTimestamp");
  const expires = end === undefined ? NaN : Date.parse(end);
  const pair = cert !== undefined && key !== undefined;
  return {
    token,
    cert: pair ? cert : undefined,
    key: pair ? key : undefined,
    expires: Number.isNaN(expires) ? undefined : expires,
  };
}
