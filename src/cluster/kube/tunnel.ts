/**
 * Two ways to a server that Deno's fetch cannot go by itself, each a small relay of this process.
 *
 * A certificate that is checked against another name (tls-server-name): fetch is given that name and, as its proxy, a relay
 * on loopback that connects to the real address. TLS goes through it end to end; what local processes could do with it
 * they can do without it.
 *
 * A certificate that is not checked at all (insecure-skip-tls-verify): fetch speaks plain HTTP to a socket in a folder of
 * root's, and the relay does the TLS, by node:tls, the only one that can leave out the check.
 */
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { Access } from "./access.ts";
import type { Credentials } from "./credentials.ts";
import { isAddress } from "../../net/address.ts";
import { hostAddress } from "../../net/host_port.ts";
import { pause } from "./backoff.ts";
import { dial, proxyVariable, type Target } from "./proxy.ts";

/** What fetch is to be given. */
export interface Way {
  /** In place of the server's URL. */
  base: string;
  proxy: Deno.Proxy;
  close(): void;
}

type Tls = Pick<Credentials, "cert" | "key">;
type Duplex = Pick<Deno.Conn, "readable" | "writable">;
type Dial = () => Promise<Duplex>;

/** The way that `access` needs; undefined: fetch finds its own. */
export function wayTo(access: Access, tls: Tls): Way | undefined {
  const { insecure, tlsServerName } = access;
  const server = new URL(access.server);
  if (server.protocol !== "https:" || !insecure && tlsServerName === undefined) return undefined;
  const hostname = hostAddress(server.hostname) ?? server.hostname;
  const target = { hostname, port: Number(server.port || 443) };
  const variable = proxyVariable(server);
  const proxyUrl = access.proxyUrl ?? (variable && Deno.env.get(variable));
  const proxy = proxyUrl === undefined || !URL.canParse(proxyUrl) ? undefined : new URL(proxyUrl);
  const path = server.pathname.replace(/\/+$/, "");
  if (insecure) return unchecked(target, tls, tlsServerName, proxy, server.host + path);
  const name = isAddress(tlsServerName!, 6) ? `[${tlsServerName}]` : tlsServerName!;
  return renamed(`https://${name}:${target.port}${path}`, () => dial(target, proxy));
}

function renamed(base: string, reach: Dial): Way {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void serve(listener, async (near) => {
    if (!await readConnect(near)) return near.close();
    await near.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n"));
    await relay(near, reach);
  });
  const proxy = { url: `http://127.0.0.1:${listener.addr.port}` };
  return { base, proxy, close: () => listener.close() };
}

/** Behind a proxy node:tls connects to a second relay, which goes there by the proxy. */
function unchecked(
  target: Target,
  tls: Tls,
  name: string | undefined,
  proxy: URL | undefined,
  authority: string,
): Way {
  const folder = Deno.makeTempDirSync({ prefix: "pcnk-api-" }); // mode 0700
  const path = join(folder, "socket");
  const listener = Deno.listen({ transport: "unix", path });
  const servername = name ?? (isAddress(target.hostname) ? undefined : target.hostname);
  const second = proxy && Deno.listen({ hostname: "127.0.0.1", port: 0 });
  if (second !== undefined) void serve(second, (near) => relay(near, () => dial(target, proxy)));
  const next = second === undefined
    ? target
    : { hostname: second.addr.hostname, port: second.addr.port };
  void serve(listener, (near) => relay(near, () => dialUnchecked(next, tls, servername)));
  return {
    base: `http://${authority}`,
    proxy: { transport: "unix", path },
    close: () => {
      second?.close();
      listener.close();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

/** Until the listener is closed. */
async function serve<C extends Deno.Conn>(
  listener: Deno.Listener<C>,
  handle: (near: C) => Promise<void> | void,
) {
  for (;;) {
    let near: C;
    try {
      near = await listener.accept();
    } catch (error) {
      if (error instanceof Deno.errors.BadResource) return;
      await pause(100, new AbortController().signal); // out of file descriptors, for example
      continue;
    }
    Promise.resolve(handle(near)).catch(() => {
      try {
        near.close();
      } catch {
        // Closed already.
      }
    });
  }
}

/** Reads the head of a CONNECT request; false when it is none. */
async function readConnect(near: Deno.Conn): Promise<boolean> {
  const buffer = new Uint8Array(4096);
  let text = "";
  while (!text.includes("\r\n\r\n")) {
    const count = await near.read(buffer);
    if (count === null || text.length > 4096) return false;
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return text.startsWith("CONNECT ");
}

/** Copies between both until either ends; then both end. */
async function relay(near: Duplex, dial: Dial) {
  const far = await dial();
  const end = new AbortController();
  const copy = (from: Duplex, to: Duplex) =>
    from.readable.pipeTo(to.writable, { signal: end.signal }).finally(() => end.abort());
  await Promise.allSettled([copy(near, far), copy(far, near)]);
}

function dialUnchecked(
  { hostname, port }: Target,
  tls: Tls,
  servername: string | undefined,
): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const socket = connectTls({
    host: hostname,
    port,
    rejectUnauthorized: false,
    ALPNProtocols: ["http/1.1"],
    servername,
    ...tls,
  }, () => {
    const readable = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start(controller) {
        const settle = (act: () => void) => {
          try {
            act();
          } catch {
            // It was cancelled before.
          }
        };
        socket.on("data", (data) => settle(() => controller.enqueue(new Uint8Array(data))));
        socket.on("end", () => settle(() => controller.close()));
        socket.on("error", (error) => settle(() => controller.error(error)));
        socket.on("close", () => settle(() => controller.close()));
      },
      cancel: () => void socket.destroy(),
    });
    const writable = new WritableStream<Uint8Array>({
      write: (chunk) =>
        new Promise((done, failed) =>
          socket.write(chunk, (error) => error ? failed(error) : done())
        ),
      close: () => void socket.destroy(),
      abort: () => void socket.destroy(),
    });
    resolve({ readable, writable });
  });
  socket.on("error", reject);
  return promise;
}
