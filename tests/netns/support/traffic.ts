/**
 * Steady traffic to a service, run inside a pod: TCP request/response on one connection and UDP datagrams on one socket,
 * each numbered. Begins at once, ends when standard input ends, then writes a TrafficReport as JSON.
 *
 *   deno run -A traffic.ts ADDRESS PORT
 */
import { createSocket } from "node:dgram";

/** What was sent and what came back. */
export interface TrafficReport {
  tcp: { sent: number; answered: number; error?: string; longestMs: number };
  udp: { sent: number; answered: number; backends: string[] };
}

const UDP_EVERY_MS = 1;
const LAST_ANSWER_MS = 1000;

async function main(address: string, port: number): Promise<void> {
  const stop = new Response(Deno.stdin.readable).text();
  const tcp = pingPong(address, port, stop);
  const udp = datagrams(address, port, stop);
  console.log("started");
  console.log(JSON.stringify({ tcp: await tcp, udp: await udp } satisfies TrafficReport));
}

async function pingPong(address: string, port: number, stop: Promise<unknown>) {
  const report: TrafficReport["tcp"] = { sent: 0, answered: 0, longestMs: 0 };
  let stopped = false;
  stop.then(() => stopped = true);
  try {
    using connection = await Deno.connect({ hostname: address, port });
    connection.setNoDelay(true);
    const chunk = new Uint8Array(4096);
    while (!stopped) {
      const line = `tcp ${++report.sent}\n`;
      const since = performance.now();
      await connection.write(new TextEncoder().encode(line));
      const count = await connection.read(chunk);
      if (count === null) throw new Error("the connection was closed");
      if (!new TextDecoder().decode(chunk.subarray(0, count)).endsWith(line)) {
        throw new Error(`a wrong answer to ${line}`);
      }
      report.answered++;
      report.longestMs = Math.max(report.longestMs, performance.now() - since);
    }
  } catch (error) {
    report.error = String(error);
  }
  return report;
}

async function datagrams(address: string, port: number, stop: Promise<unknown>) {
  const socket = createSocket("udp4");
  const answered = new Set<number>();
  const backends = new Set<string>();
  let sent = 0;
  let heardAll = () => {};
  socket.on("message", (message) => {
    const [, backend = "", number = ""] = /^(\S+) \S+ udp (\d+)$/.exec(message.toString()) ?? [];
    backends.add(backend);
    answered.add(Number(number));
    if (answered.size === sent) heardAll();
  });
  let stopped = false;
  const timer = setInterval(() => {
    // On a busy machine Deno calls back once more after clearInterval().
    if (!stopped) socket.send(`udp ${++sent}`, port, address);
  }, UDP_EVERY_MS);
  await stop;
  stopped = true;
  clearInterval(timer);
  let limit: ReturnType<typeof setTimeout> | undefined;
  await new Promise<void>((resolve) => {
    heardAll = resolve;
    limit = setTimeout(resolve, LAST_ANSWER_MS);
    if (answered.size === sent) resolve();
  });
  clearTimeout(limit);
  socket.close();
  return { sent, answered: answered.size, backends: [...backends] };
}

const [address = "", port = ""] = Deno.args;
if (import.meta.main) await main(address, Number(port));
