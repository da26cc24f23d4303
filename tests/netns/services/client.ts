/**
 * Clients of services, run in a pod, on a node or outside. Each speaks with the lab's servers (src/lab/serve.ts), whose answers
 * tell who answered and whom they saw: `pod1-1 10.244.1.3:40000 hello`.
 *
 *   client.ts load ADDRESS PORT CLIENTS   as many loops of connect, ask, close; ends with standard input, then a LoadReport
 *   client.ts hold ADDRESS PORT           one connection; a line of standard input is asked, its answer printed
 *   client.ts udp ADDRESS PORT            a datagram every 5 ms; ends with standard input, then a UdpReport
 *   client.ts udp-connected ADDRESS PORT  the same on connected sockets: a new one when the kernel ends the old
 *   client.ts ask KIND ADDRESS PORT COUNT SIZE  so many new sockets one after the other, tcp or udp; prints AskReport
 *   client.ts asks [[KIND, ADDRESS, PORT, SIZE], …]   one socket for each, all at once; prints a list of AskReports
 */
import { createSocket, type Socket } from "node:dgram";

/** Requests on connections of their own. */
export interface LoadReport {
  requests: number;
  failures: string[];
  /** Answers by who gave them. */
  backends: Record<string, number>;
  longestMs: number;
}

/** Datagrams of a steady sender. Times are milliseconds since the epoch. */
export interface UdpReport {
  sent: number;
  /** Every change of who answers, with the time of that answer. */
  changes: { at: number; backend: string }[];
  /** The last answer of each. */
  last: Record<string, number>;
}

/** What each new socket got. */
export interface AskReport {
  answers: { backend: string; seenAs: string; ms: number }[];
  /** What ended it early. */
  error?: string;
}

const ended = () => new Response(Deno.stdin.readable).text();

/** So long a request may take, ms: one that is never answered is a failure, and not a test without an end. */
const PATIENCE_MS = 10_000;

/** One request on a connection of its own: who answered, and whom it saw. */
async function request(address: string, port: number, line: string) {
  using connection = await Deno.connect({ hostname: address, port });
  connection.setNoDelay(true);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    connection[Symbol.dispose](); // ends the read
  }, PATIENCE_MS);
  try {
    await writeAll(connection, line + "\n");
    return parse(await readLine(connection), line);
  } catch (error) {
    const { port: from } = connection.localAddr;
    throw late ? new Error(`no answer within ${PATIENCE_MS / 1000} s, from port ${from}`) : error;
  } finally {
    clearTimeout(timer);
  }
}

async function writeAll(connection: Deno.TcpConn, text: string) {
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) rest = rest.subarray(await connection.write(rest));
}

async function readLine(connection: Deno.TcpConn): Promise<string> {
  const chunk = new Uint8Array(65536);
  const decoder = new TextDecoder();
  let text = "";
  while (!text.endsWith("\n")) {
    const count = await connection.read(chunk);
    if (count === null) throw new Error("the connection was closed before the answer");
    text += decoder.decode(chunk.subarray(0, count), { stream: true });
  }
  return text.slice(0, -1);
}

function parse(answer: string, line: string): { backend: string; seenAs: string } {
  const [, backend, seenAs, echo] = /^(\S+) (\S+) (.*)$/s.exec(answer) ?? [];
  if (backend === undefined || seenAs === undefined || echo !== line) {
    throw new Error(`a wrong answer: ${answer.slice(0, 80)}`);
  }
  return { backend, seenAs };
}

async function load(address: string, port: number, clients: number) {
  const report: LoadReport = { requests: 0, failures: [], backends: {}, longestMs: 0 };
  let over = false;
  const end = ended().then(() => over = true);
  const loop = async () => {
    while (!over) {
      const since = performance.now();
      try {
        const { backend } = await request(address, port, "load");
        report.backends[backend] = (report.backends[backend] ?? 0) + 1;
      } catch (error) {
        report.failures.push(String(error));
        if (report.failures.length > 100) break;
      }
      report.requests++;
      report.longestMs = Math.max(report.longestMs, performance.now() - since);
      await new Promise((done) => setTimeout(done, 20)); // a hundred clients share two cores
    }
  };
  const loops = Array.from({ length: clients }, loop);
  console.log("started");
  await end;
  await Promise.all(loops);
  console.log(JSON.stringify(report));
}

async function hold(address: string, port: number) {
  using connection = await Deno.connect({ hostname: address, port });
  console.log("started");
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const part of lines) {
    for (const line of part.split("\n").filter((one) => one !== "")) {
      try {
        await writeAll(connection, line + "\n");
        console.log(await readLine(connection));
      } catch (error) {
        console.log(`error: ${error}`);
      }
    }
  }
}

async function udp(address: string, port: number, connected: boolean) {
  const report: UdpReport = { sent: 0, changes: [], last: {} };
  let current = "";
  const heard = (message: Uint8Array) => {
    const [backend = ""] = new TextDecoder().decode(message).split(" ");
    report.last[backend] = Date.now();
    if (backend !== current) report.changes.push({ at: Date.now(), backend });
    current = backend;
  };
  let socket: Socket | undefined;
  const open = () => {
    const fresh = createSocket("udp4");
    socket = fresh;
    fresh.on("message", heard);
    // A connected socket whose backend is gone is ended by the kernel: a client that cares opens another.
    fresh.on("error", () => {
      if (socket !== fresh) return;
      fresh.close();
      open();
    });
    if (connected) fresh.connect(port, address);
  };
  open();
  let over = false;
  const end = ended().then(() => over = true);
  console.log("started");
  while (!over) {
    report.sent++;
    try {
      if (connected) socket!.send("udp", () => {});
      else socket!.send("udp", port, address, () => {});
    } catch {
      // Not connected yet, or ended just now.
    }
    await Promise.race([end, new Promise((done) => setTimeout(done, 5))]);
  }
  const last = socket!;
  socket = undefined;
  last.close();
  console.log(JSON.stringify(report));
}

/** One socket of `client.ts asks`. */
export type Asked = [kind: "tcp" | "udp", address: string, port: number, size: number];

async function ask(
  kind: string,
  address: string,
  port: number,
  { count = 1, size = 5, ms = PATIENCE_MS },
): Promise<AskReport> {
  const report: AskReport = { answers: [] };
  const line = "x".repeat(size);
  try {
    for (let i = 0; i < count; i++) {
      const since = performance.now();
      const answer = within(
        ms,
        kind === "udp" ? datagram(address, port, line) : request(address, port, line),
      );
      report.answers.push({ ...await answer, ms: performance.now() - since });
    }
  } catch (error) {
    report.error = String(error);
  }
  return report;
}

function print(report: unknown): never {
  console.log(JSON.stringify(report));
  Deno.exit(0); // an open socket of what failed must not keep it
}

function datagram(address: string, port: number, line: string) {
  const socket = createSocket("udp4");
  return new Promise<{ backend: string; seenAs: string }>((done, failed) => {
    socket.on("message", (message) => done(parse(new TextDecoder().decode(message), line)));
    socket.on("error", failed);
    socket.connect(port, address, () => socket.send(line, (error) => error && failed(error)));
  }).finally(() => socket.close());
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, failed) =>
    timer = setTimeout(() => failed(new Error("timeout")), ms)
  );
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

if (import.meta.main) {
  const [mode = "", ...rest] = Deno.args;
  const [address = "", port = "", count = ""] = rest;
  if (mode === "load") await load(address, Number(port), Number(count));
  else if (mode === "hold") await hold(address, Number(port));
  else if (mode === "udp" || mode === "udp-connected") {
    await udp(address, Number(port), mode !== "udp");
  } else if (mode === "ask") {
    const [kind = "", address = "", port = "", count = "", size = ""] = rest;
    print(await ask(kind, address, +port, { count: +count, size: +size, ms: 2000 }));
  } else if (mode === "asks") {
    const all: Asked[] = JSON.parse(address);
    print(await Promise.all(all.map(([kind, to, port, size]) => ask(kind, to, port, { size }))));
  }
}
