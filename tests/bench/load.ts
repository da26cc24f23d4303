/** Drives load.c: traffic between two namespaces, and the life time of single processes. */
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { root, run } from "../../src/build/steps.ts";

const source = join(root, "tests/bench/load.c");
const program = join(root, "dist/bench/load");

/** Compiles load.c unless that was done since its last change. */
export function buildLoad(): void {
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return;
  mkdirSync(dirname(program), { recursive: true });
  run("gcc", ["-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
}

/** See load.c. */
export type Mode = "rr" | "udprr" | "crr" | "connect" | "bulk" | "flood";

/** Where a process of load.c runs. */
export interface Place {
  netns: string;
  /** Folder of the cgroup2 to run in; the caller's when absent. */
  cgroup?: string;
  /** The CPU it is pinned to; none when absent. */
  cpu?: number;
}

export interface Target {
  /** Dotted quad. */
  addr: string;
  port: number;
  /** How many addresses from `addr` on, for `crr` and `connect`; 1 when absent. */
  addresses?: number;
  /** From one of them to the next; 1 when absent. */
  step?: number;
}

/**
 * Times in ns. `bulk` has `rate` alone, in bytes a second; for the others it is operations a second. Of `flood` it is what was
 * sent, and there are no times but `seconds`.
 */
export interface Figures {
  rate: number;
  count: number;
  /** Duration of the run. */
  seconds: number;
  mean: number;
  min: number;
  p50: number;
  p90: number;
  p99: number;
}

function inPlace({ netns, cgroup, cpu }: Place): string[] {
  return [
    ...(cgroup === undefined ? [] : ["-g", cgroup]),
    ...["-n", netns],
    ...(cpu === undefined ? [] : ["-c", String(cpu)]),
  ];
}

/**
 * Runs one client for `ms` milliseconds after a warm-up.
 * @throws {Error} with what the client said
 */
export async function measure(
  mode: Mode,
  place: Place,
  target: Target,
  options: {
    ms: number;
    warmupMs?: number;
    bytes?: number;
    /** Packets a second of `flood`; 0, the default: as many as it can. */
    rate?: number;
    signal: AbortSignal;
  },
): Promise<Figures> {
  const { ms, warmupMs = 50, bytes = 1, rate = 0, signal } = options;
  const { addr, port, addresses = 1, step = 1 } = target;
  const flags = { "-t": ms, "-w": warmupMs, "-s": bytes, "-a": addresses, "-k": step, "-r": rate };
  const words = Object.entries(flags).flatMap(([flag, value]) => [flag, String(value)]);
  const output = await new Deno.Command(program, {
    args: [...inPlace(place), mode, ...words, addr, String(port)],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal,
  }).output();
  signal.throwIfAborted();
  const text = new TextDecoder();
  if (!output.success) throw new Error(`${text.decode(output.stderr).trim()} (to ${addr}:${port})`);
  return JSON.parse(text.decode(output.stdout));
}

/** A server as load.c describes it, until `stop()`. */
export interface Server {
  pid: number;
  stop(): Promise<void>;
}

/** Starts a server and waits until it listens. */
export async function startServer(
  place: Place,
  port: number,
  mode: "serve" | "sink" = "serve",
): Promise<Server> {
  const child = new Deno.Command(program, {
    args: [...inPlace(place), mode, String(port)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  await reader.cancel();
  if (done) throw new Error(`the server ended with code ${(await child.status).code}`);
  return {
    pid: child.pid,
    async stop() {
      await child.stdin.close();
      await child.status;
    },
  };
}

/** A process that has ended. */
export interface ProcessFigures {
  /** From fork to end. */
  ms: number;
  /** Peak resident memory. */
  peakKB: number;
  stdout: string;
}

/**
 * Runs a program to its end, timed by load.c. Standard input and output are files below `dir`.
 * @throws {Error} when it ends with another code than 0, with what it printed
 */
export async function timeProcess(
  command: readonly string[],
  options: {
    dir: string;
    env?: Record<string, string>;
    stdin?: string;
    netns?: string;
    signal?: AbortSignal;
  },
): Promise<ProcessFigures> {
  const { dir, env = {}, stdin, netns, signal } = options;
  const input = join(dir, "stdin"), output = join(dir, "stdout");
  if (stdin !== undefined) Deno.writeTextFileSync(input, stdin);
  const files = [...(stdin === undefined ? [] : ["-i", input]), "-o", output];
  const result = await new Deno.Command(program, {
    args: [...(netns ? ["-n", netns] : []), ...files, "exec", ...command],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...(signal ? { signal } : {}),
  }).output();
  signal?.throwIfAborted();
  const text = new TextDecoder();
  const stdout = readFileSync(output, "utf8");
  const failure = () => `${command.join(" ")}: ${text.decode(result.stderr)}${stdout}`;
  if (!result.success) throw new Error(failure());
  const { ns, status, peakKB } = JSON.parse(text.decode(result.stdout));
  if (status !== 0) throw new Error(`status ${status}: ${failure()}`);
  return { ms: ns / 1e6, peakKB, stdout };
}
