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
export function wayTo({ server, insecure, tlsServerName }: Access, tls: Tls): Way | undefined {
  const { protocol, hostname, port } = new URL(server);
  if (protocol !== "https:") return undefined;
  const address = { hostname: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 443) };
  if (insecure) return unchecked(address, tls, tlsServerName);
  if (tlsServerName === undefined) return undefined;
  return renamed(address, tlsServerName);
}

interface Address {
  hostname: string;
  port: number;
}

function renamed(address: Address, name: string): Way {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void serve(listener, async (near) => {
    if (!await readConnect(near)) return near.close();
    await near.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n"));
    await relay(near, () => Deno.connect(address));
  });
  return {
    base: `https://${name}:${address.port}`,
    proxy: { url: `http://127.0.0.1:${listener.addr.port}` },
    close: () => listener.close(),
  };
}

function unchecked(address: Address, tls: Tls, name: string | undefined): Way {
  const folder = Deno.makeTempDirSync({ prefix: "pcnk-api-" }); // mode 0700
  const path = join(folder, "socket");
  const listener = Deno.listen({ transport: "unix", path });
  void serve(listener, (near) => relay(near, () => dialUnchecked(address, tls, name)));
  return {
    base: `http://${address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname}`,
    proxy: { transport: "unix", path },
    close: () => {
      listener.close();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

async function serve<C extends Deno.Conn>(
  listener: AsyncIterable<C>,
  handle: (near: C) => Promise<void> | void,
) {
  for await (const near of listener) {
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

function dialUnchecked(address: Address, tls: Tls, name: string | undefined): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const servername = name ?? (isAddress(address.hostname) ? undefined : address.hostname);
  const socket = connectTls({
    host: address.hostname,
    port: address.port,
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
