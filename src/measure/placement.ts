/** Load tools in a pod, on a node: run to their end, or as servers until they are disposed of. Everything has an end in time. */
import { endProcess, identify, netnsKey } from "../lab/process.ts";
import { commandAt, type Place } from "../lab/spawn.ts";

/** Where a tool runs, and on which CPU. */
export interface Placement extends Place {
  /** Absent: wherever the kernel likes. */
  cpu?: number;
}

const SERVER_MS = 5000, POLL_MS = 5;

/** State LISTEN in /proc/net/tcp, and that of an unconnected socket in /proc/net/udp. */
const LISTENING = { tcp: "0A", udp: "07" } as const;

/**
 * Runs a command to its end and returns what it printed.
 * @param ms it is killed after so long
 * @throws {Error} with the command's own words when it fails; the signal's reason when that is aborted
 */
export async function runAt(where: Placement, argv: string[], ms: number, signal: AbortSignal) {
  signal.throwIfAborted();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ms)]);
  const child = commandAt(where, pinned(where, argv), {
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: limit,
  }).spawn();
  const { success, code, stdout, stderr } = await child.output();
  signal.throwIfAborted();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (limit.aborted) throw new Error(`${argv[0]} had not ended after ${ms / 1000} s`);
  return { success, code, out: out!, err: err! };
}

/** Starts a server and waits until it listens; it ends when it is disposed of. */
export async function serveAt(
  where: Placement,
  argv: string[],
  { port, protocol, signal }: { port: number; protocol: "tcp" | "udp"; signal: AbortSignal },
): Promise<AsyncDisposable> {
  const child = commandAt(where, pinned(where, argv), {
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let ended = false;
  const said = lastLine(child.stdout, child.stderr);
  void child.status.then(() => ended = true);
  const dispose = async () => {
    const id = ended ? undefined : identify(child.pid);
    if (id) await endProcess(id, 1000);
    await child.status;
    await said;
  };
  try {
    const end = performance.now() + SERVER_MS;
    while (!listens(child.pid, where, port, protocol)) {
      signal.throwIfAborted();
      if (ended) throw new Error(`${argv[0]} ended: ${await said}`);
      if (performance.now() > end) throw new Error(`${argv[0]} does not listen on port ${port}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return { [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** The last line; all of both streams is read, so that a full pipe never stops the process. */
async function lastLine(...streams: ReadableStream<Uint8Array>[]): Promise<string> {
  const texts = await Promise.all(streams.map(async (stream) => {
    const decoder = new TextDecoder();
    let last = "";
    for await (const chunk of stream) {
      last = (last + decoder.decode(chunk, { stream: true })).slice(-1000);
    }
    return last.trim().split("\n").at(-1)!;
  }));
  return texts.filter((text) => text !== "").join("; ");
}

function pinned({ cpu }: Placement, argv: string[]): string[] {
  return cpu === undefined ? argv : ["taskset", "--cpu-list", String(cpu), ...argv];
}

/** By the tables of the process's own namespace, once it is in that. */
function listens(pid: number, where: Placement, port: number, protocol: "tcp" | "udp"): boolean {
  if (netnsKey(`/proc/${pid}/ns/net`) !== netnsKey(where.netnsPath)) return false;
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`^ *\\d+: [0-9A-F]+:${hex} [0-9A-F]+:0000 ${LISTENING[protocol]}`, "m")
    .test(readTables(pid, protocol));
}

function readTables(pid: number, protocol: string): string {
  return [protocol, `${protocol}6`].map((name) => {
    try {
      return Deno.readTextFileSync(`/proc/${pid}/net/${name}`);
    } catch {
      return ""; // ended, or no IPv6
    }
  }).join("\n");
}
