/** Drives load.c: traffic between two namespaces, and the life time of single processes. */
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { root, run } from "../../src/build/steps.ts";
import { enter } from "../../src/lab/spawn.ts";
import { type Placement, runAt, serveAt } from "../../src/measure/placement.ts";

/**
 * Client and server are pinned to one CPU. On two, a request waits for the other CPU to wake up, which takes ten times as
 * long as its way (on virtual machines more), and is the same for all: the differences would drown. It is the last one; the
 * harness and what else runs on the machine find the others.
 */
export const CPU = availableParallelism() - 1;

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

/** In a network namespace, on `CPU`. */
export function pinnedAt(netnsPath: string, cpu = CPU): Placement {
  return { netnsPath, cgroup: null, cpu };
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

/** Median of a run's times in µs. */
export const microseconds = ({ p50 }: Figures) => p50 / 1000;
/** Operations a second. */
export const perSecond = ({ rate }: Figures) => rate;

/**
 * Runs one client for `ms` milliseconds after a warm-up.
 * @param options rate: packets a second of `flood`; 0: as many as it can
 * @throws {Error} with the client's own words
 */
export async function measure(
  mode: Mode,
  client: Placement,
  { addr, port, addresses = 1, step = 1 }: Target,
  options: { ms: number; warmupMs?: number; bytes?: number; rate?: number; signal: AbortSignal },
): Promise<Figures> {
  const { ms, warmupMs = 50, bytes = 1, rate = 0, signal } = options;
  const flags = { "-t": ms, "-w": warmupMs, "-s": bytes, "-a": addresses, "-k": step, "-r": rate };
  const words = Object.entries(flags).flatMap(([flag, value]) => [flag, String(value)]);
  const command = [program, mode, ...words, addr, String(port)];
  const { success, out, err } = await runAt(client, command, ms + 20_000, signal);
  if (!success) throw new Error(`${err.trim()} (to ${addr}:${port})`);
  return JSON.parse(out);
}

/** Starts a server as load.c describes it and waits until it listens. It ends when it is disposed of. */
export function startServer(
  placement: Placement,
  port: number,
  mode: "serve" | "sink",
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const protocol = mode === "serve" ? "tcp" : "udp";
  return serveAt(placement, [program, mode, String(port)], { port, protocol, signal });
}

/** A process that has ended. */
interface ProcessFigures {
  /** From fork to end. */
  ms: number;
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
    signal?: AbortSignal | undefined;
  },
): Promise<ProcessFigures> {
  const { dir, env = {}, stdin, netns, signal } = options;
  const input = join(dir, "stdin"), output = join(dir, "stdout");
  if (stdin !== undefined) Deno.writeTextFileSync(input, stdin);
  const files = [...(stdin === undefined ? [] : ["-i", input]), "-o", output];
  const words = [program, ...files, "exec", ...command];
  const [first, ...args] = netns ? enter({ netnsPath: netns, cgroup: null }, words) : words;
  const result = await new Deno.Command(first!, { args, env, stdin: "null", signal }).output();
  signal?.throwIfAborted();
  const text = new TextDecoder();
  const stdout = readFileSync(output, "utf8");
  const failure = () => `${command.join(" ")}: ${text.decode(result.stderr)}${stdout}`;
  if (!result.success) throw new Error(failure());
  const { ns, status } = JSON.parse(text.decode(result.stdout));
  if (status !== 0) throw new Error(`status ${status}: ${failure()}`);
  return { ms: ns / 1e6, stdout };
}
