/**
 * The server in every pod: answers on TCP and UDP with the pod's name, the client's address as it arrived here, and
 * what the client sent. `pcnk lab serve` runs it.
 *
 * TCP is by line: `hello\n` → `pod1-1 10.244.1.3:40000 hello\n`; a line that is an HTTP request gets an HTTP answer with the
 * same text, so curl works too. UDP is by datagram, likewise.
 */
import { createSocket, type Socket } from "node:dgram";
import { Buffer } from "node:buffer";

/** A line longer than this ends its connection; no client of the lab sends one. */
const MAX_LINE = 64 * 1024;

/** A running server. */
interface Server {
  /** The TCP and UDP port it listens on. */
  port: number;
  close(): Promise<void>;
}

/**
 * Starts a server on all addresses of the current network namespace.
 *
 * @param port 0 lets the kernel choose a TCP port, which is then used for UDP as well.
 * @throws Deno.errors.AddrInUse or an Error of node:dgram when the port is taken.
 */
export async function serve(name: string, port: number): Promise<Server> {
  const listener = Deno.listen({ hostname: "0.0.0.0", port });
  const bound = listener.addr.port;
  const connections = new Set<Deno.TcpConn>();
  let udp: Socket;
  try {
    udp = await serveUdp(name, bound);
  } catch (error) {
    listener.close();
    throw error;
  }
  const accepting = acceptAll(name, listener, connections);
  return {
    port: bound,
    async close() {
      listener.close();
      for (const connection of connections) closeQuietly(connection);
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      await accepting;
    },
  };
}

function serveUdp(name: string, port: number): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.on("message", (message, from) => {
    const answer = Buffer.concat([Buffer.from(`${name} ${from.address}:${from.port} `), message]);
    socket.send(answer, from.port, from.address, () => {});
  });
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(port, "0.0.0.0", () => {
      socket.off("error", reject);
      socket.on("error", () => {}); // an ICMP error that one client provoked must not end the others' service
      resolve(socket);
    });
  });
}

async function acceptAll(name: string, listener: Deno.TcpListener, open: Set<Deno.TcpConn>) {
  const running = new Set<Promise<void>>();
  while (true) {
    let connection: Deno.TcpConn;
    try {
      connection = await listener.accept();
    } catch (error) {
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
        break;
      }
      continue; // the client was gone before it was accepted
    }
    open.add(connection);
    const one = serveTcp(name, connection).catch(() => {}).finally(() => {
      closeQuietly(connection);
      open.delete(connection);
      running.delete(one);
    });
    running.add(one);
  }
  await Promise.all(running);
}

async function serveTcp(name: string, connection: Deno.TcpConn): Promise<void> {
  connection.setNoDelay(true);
  const { hostname, port } = connection.remoteAddr;
  const prefix = `${name} ${hostname}:${port} `;
  let request: string | undefined; // the first line of an HTTP request; its headers are of no interest
  for await (const line of linesOf(connection)) {
    if (request !== undefined) {
      if (line.trim() !== "") continue;
      return await writeAll(connection, httpAnswer(prefix + request));
    }
    if (/^[A-Z]+ \S+ HTTP\/1\.[01]\r?$/.test(line)) request = line.trim();
    else await writeAll(connection, `${prefix}${line}\n`);
  }
}

async function* linesOf(connection: Deno.TcpConn): AsyncGenerator<string> {
  const chunk = new Uint8Array(MAX_LINE);
  const decoder = new TextDecoder();
  let pending = "";
  while (pending.length <= MAX_LINE) {
    const count = await connection.read(chunk);
    if (count === null) return;
    const lines = (pending + decoder.decode(chunk.subarray(0, count), { stream: true })).split(
      "\n",
    );
    pending = lines.pop() ?? "";
    yield* lines;
  }
}

function httpAnswer(text: string): string {
  const body = text + "\n";
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n" +
    `Content-Length: ${new TextEncoder().encode(body).length}\r\n\r\n${body}`;
}

async function writeAll(connection: Deno.TcpConn, text: string): Promise<void> {
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) rest = rest.subarray(await connection.write(rest));
}

function closeQuietly(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // It is closed already.
  }
}
