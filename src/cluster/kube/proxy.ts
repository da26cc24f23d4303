/** Connections by way of a proxy, for the relays of tunnel.ts: CONNECT (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928, 1929). */
import { hostAddress } from "../../net/host_port.ts";
import { parsePrefix } from "../../net/prefix.ts";

/** A host without brackets, and a port. */
export interface Target {
  hostname: string;
  port: number;
}

const variables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/** The name of the variable that has the proxy for `server`; undefined: none, or NO_PROXY names the server. */
export function proxyVariable(server: URL): string | undefined {
  const found = variables.find((name) => Deno.env.get(name));
  const except = Deno.env.get("NO_PROXY") ?? Deno.env.get("no_proxy") ?? "";
  const host = hostAddress(server.hostname) ?? server.hostname;
  const excepted = except.split(",").map((entry) => entry.trim()).some((entry) =>
    entry === "*" || entry === host || entry === server.host ||
    inPrefix(host, entry) || (entry !== "" && `.${host}`.endsWith(`.${entry.replace(/^\./, "")}`))
  );
  return excepted ? undefined : found;
}

function inPrefix(host: string, prefix: string): boolean {
  try {
    return parsePrefix(prefix).contains(host);
  } catch {
    return false;
  }
}

/** Connects to `target`, by way of `proxy` when there is one. @throws Error saying what the proxy refused */
export async function dial(target: Target, proxy: URL | undefined): Promise<Deno.Conn> {
  if (proxy === undefined) return await Deno.connect(target);
  const secure = proxy.protocol === "https:";
  const socks = proxy.protocol.startsWith("socks5");
  const hostname = hostAddress(proxy.hostname) ?? proxy.hostname;
  const port = Number(proxy.port || (socks ? 1080 : secure ? 443 : 80));
  const conn = secure
    ? await Deno.connectTls({ hostname, port })
    : await Deno.connect({ hostname, port });
  try {
    const auth = [proxy.username, proxy.password].map(decodeURIComponent);
    if (socks) await askSocks(conn, target, auth);
    else await askConnect(conn, target, auth);
    return conn;
  } catch (error) {
    conn.close();
    throw error;
  }
}

const bytes = (text: string) => new TextEncoder().encode(text);

async function askConnect(conn: Deno.Conn, { hostname, port }: Target, auth: string[]) {
  const authority = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
  const credentials = btoa(String.fromCharCode(...bytes(auth.join(":"))));
  const line = auth[0] === "" ? "" : `Proxy-Authorization: Basic ${credentials}\r\n`;
  await writeAll(conn, bytes(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${line}\r\n`));
  let head = "";
  while (!head.endsWith("\r\n\r\n")) {
    if (head.length > 8192) throw new Error("the proxy sent no response");
    head += String.fromCharCode(...await readExactly(conn, 1));
  }
  const [status = ""] = head.split("\r\n");
  if (!/^HTTP\/1\.\d 2\d\d\b/.test(status)) {
    throw new Error(`the proxy refused: ${status.slice(0, 80)}`);
  }
}

async function askSocks(conn: Deno.Conn, { hostname, port }: Target, auth: string[]) {
  const method = auth[0] === "" ? 0 : 2; // no authentication; name and password
  await writeAll(conn, Uint8Array.of(5, 1, method));
  const [, chosen] = await readExactly(conn, 2);
  if (chosen !== method) throw new Error("the proxy wants another authentication");
  if (method === 2) {
    const [name, password] = auth.map(bytes) as [Uint8Array, Uint8Array];
    await writeAll(conn, Uint8Array.of(1, name.length, ...name, password.length, ...password));
    if ((await readExactly(conn, 2))[1] !== 0) throw new Error("the proxy refused the password");
  }
  const name = bytes(hostname);
  await writeAll(conn, Uint8Array.of(5, 1, 0, 3, name.length, ...name, port >> 8, port & 255));
  const [, reply, , kind] = await readExactly(conn, 4);
  if (reply !== 0) throw new Error(`the proxy refused: SOCKS reply ${reply}`);
  const length = kind === 1 ? 4 : kind === 4 ? 16 : (await readExactly(conn, 1))[0]!;
  await readExactly(conn, length + 2); // the bound address and port
}

async function writeAll(conn: Deno.Conn, data: Uint8Array) {
  for (let done = 0; done < data.length;) done += await conn.write(data.subarray(done));
}

async function readExactly(conn: Deno.Conn, count: number): Promise<Uint8Array> {
  const data = new Uint8Array(count);
  for (let done = 0; done < count;) {
    const read = await conn.read(data.subarray(done));
    if (read === null) throw new Error("the proxy closed the connection");
    done += read;
  }
  return data;
}
