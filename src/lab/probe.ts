/**
 * Probes: connectivity checks made from within one network namespace by one process, `pcnk lab probe`. What comes out is
 * what was seen; whether that is right is judged elsewhere (matrix.ts).
 */
import { SyscallError } from "../linux/libc.ts";
import { ping } from "../linux/ping.ts";
import { ProbeSocket, type SocketKind, TimeoutError } from "./socket.ts";

/** How to ask. */
export type ProbeKind = SocketKind | "ping";

/** What to try. */
export interface Probe {
  kind: ProbeKind;
  address: string;
  /** 0 for ping. */
  port: number;
  /** How many sockets to open one after the other, so that a service may pick several backends. */
  connections: number;
  /** For each connection, and for each echo request of a ping. */
  timeoutMs: number;
}

/** What was seen. */
export interface ProbeResult {
  /** The fastest round trip on an open socket; absent when nothing came back. */
  ms?: number;
  /** Who answered each connection; none for ping. */
  answers: Answer[];
  /** What ended the probe early; `code` is an errno's name or TIMEOUT, UNREACHABLE, BAD_ANSWER. */
  error?: { code: string; text: string; afterMs: number };
}

/** Who answered a connection. */
export interface Answer {
  /** The pod's name. */
  name: string;
  /** The client as the server saw it, when its address is not that of who asked. */
  seenAs?: string;
}

const EXCHANGES = 3;

/** A probe that has no answer by then waits for it beside the ones that follow. */
const HEAD_START_MS = 10;

/**
 * Runs all probes, one after the other so that they do not slow each other down, but for those that have to wait. Never
 * throws for what the network does.
 */
export async function runProbes(probes: Probe[]): Promise<ProbeResult[]> {
  const results: Promise<ProbeResult>[] = [];
  for (const probe of probes) {
    const result = runProbe(probe);
    results.push(result);
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([result, new Promise((r) => timer = setTimeout(r, HEAD_START_MS))]);
    clearTimeout(timer);
  }
  return await Promise.all(results);
}

/** A refusal that takes longer is not prompt: the first SYN was lost, or the machine is busy. */
export const PROMPT_MS = 500;

/** Runs one probe. A refusal that comes late is asked for twice more: only the network is late each time. */
export async function runProbe(probe: Probe): Promise<ProbeResult> {
  let result = await tryProbe(probe);
  for (let again = 0; again < 2 && isLateRefusal(result); again++) result = await tryProbe(probe);
  return result;
}

function isLateRefusal({ error }: ProbeResult): boolean {
  return error?.code === "ECONNREFUSED" && error.afterMs > PROMPT_MS;
}

async function tryProbe(probe: Probe): Promise<ProbeResult> {
  const result: ProbeResult = { answers: [] };
  const start = performance.now();
  try {
    if (probe.kind === "ping") await pings(probe, result);
    else {
      for (let i = 0; i < probe.connections; i++) {
        await oneConnection(probe.kind, probe, result);
      }
    }
  } catch (error) {
    result.error = { ...describe(error), afterMs: performance.now() - start };
  }
  return result;
}

async function oneConnection(
  kind: SocketKind,
  { address, port, timeoutMs }: Probe,
  result: ProbeResult,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  using socket = await ProbeSocket.connect(kind, address, port, deadline);
  for (let exchange = 1; exchange <= EXCHANGES; exchange++) {
    const answer = await ask(socket, `probe ${exchange}\n`, deadline);
    if (exchange === 1) result.answers.push(answer);
    result.ms = Math.min(result.ms ?? Infinity, socket.roundTripMs);
  }
}

async function pings({ address, timeoutMs }: Probe, result: ProbeResult): Promise<void> {
  for (let exchange = 1; exchange <= EXCHANGES; exchange++) {
    const answer = await ping({ address, timeoutMs });
    if (!answer.ok) throw new PingError(answer.reason, answer.from);
    result.ms = Math.min(result.ms ?? Infinity, answer.rttMs);
  }
}

class PingError extends Error {
  constructor(readonly reason: string, from?: string) {
    super(from === undefined ? reason : `${reason}, says ${from}`);
  }
}

/** Sends a line and reads `NAME CLIENT line` (serve.ts). */
async function ask(socket: ProbeSocket, line: string, deadline: number): Promise<Answer> {
  socket.send(new TextEncoder().encode(line));
  let answer = "";
  while (!answer.endsWith("\n")) {
    const part = await socket.receive(deadline);
    if (part.length === 0) throw new BadAnswer("the connection was closed before an answer came");
    answer += new TextDecoder().decode(part);
  }
  const [, name, client, echo] = /^(\S+) (\S+) (.*\n)$/.exec(answer) ?? [];
  if (name === undefined || client === undefined || echo !== line) {
    throw new BadAnswer(`not an answer of a lab's pod: ${JSON.stringify(answer.slice(0, 60))}`);
  }
  return addressOf(client) === addressOf(socket.local) ? { name } : { name, seenAs: client };
}

/** Without the port: a flow rightly gets another one where an earlier flow still has the client's at the same backend. */
function addressOf(end: string): string {
  return end.slice(0, end.lastIndexOf(":"));
}

class BadAnswer extends Error {}

function describe(error: unknown): { code: string; text: string } {
  if (error instanceof TimeoutError) return { code: "TIMEOUT", text: error.message };
  if (error instanceof PingError) {
    return { code: error.reason === "timeout" ? "TIMEOUT" : "UNREACHABLE", text: error.message };
  }
  if (error instanceof BadAnswer) return { code: "BAD_ANSWER", text: error.message };
  if (error instanceof SyscallError) return { code: error.code, text: error.message };
  throw error;
}
