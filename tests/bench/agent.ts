/** A real agent of dist/pcnk: until when is it ready, how large is it, how busy. */
import { existsSync, readFileSync } from "node:fs";
import type { Stage } from "./stage.ts";
import { pcnk } from "./subject.ts";

const READY_MS = 120_000;

/** Another node, one for each agent. */
let number = 0;

export interface Agent {
  pid: number;
  /** From the start of the process until it says that it is ready. */
  readyMs: number;
  bpffs: string;
  /** Resident memory, now. */
  residentMB(): number;
  /** The most that was resident at any time. */
  peakMB(): number;
  /** Processor time so far, in all threads. */
  cpuMs(): number;
  stop(): Promise<void>;
}

/** Starts an agent with a cluster as manifests, in a node of its own, and waits until it is ready. */
export function startAgent(stage: Stage, manifests: string): Promise<Agent> {
  const node = stage.netns(`agent${number + 1}`);
  return startAgentAt(stage, node, ["--manifests", manifests, "--node-name", "node0"]);
}

/**
 * Starts an agent in the network namespace `node` and waits until it is ready.
 * @param flags where its objects come from, its name, and whatever else is not the default
 */
export async function startAgentAt(stage: Stage, node: string, flags: string[]): Promise<Agent> {
  const name = `agent${++number}`;
  const dir = `${stage.dir}/${name}`;
  Deno.mkdirSync(dir);
  const stateDir = `${dir}/state`, bpffs = `${dir}/bpf`;
  const start = performance.now();
  const child = new Deno.Command("nsenter", {
    args: [
      `--net=${node}`,
      pcnk(),
      ...["agent", "--bpffs", bpffs, "--state-dir", stateDir],
      ...(flags.includes("--cgroup") ? flags : ["--socket-lb", "off", ...flags]),
    ],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const log = new Response(child.stderr).text();
  let running = true;
  const ended = child.status.finally(() => running = false);
  const stop = async () => {
    if (running) child.kill("SIGTERM");
    await ended;
  };
  stage.defer(stop);
  while (!isReady(`${stateDir}/agent.json`)) {
    stage.signal.throwIfAborted();
    if (!running) throw new Error(`the agent has ended:\n${await log}`);
    if (performance.now() - start > READY_MS) throw new Error("the agent does not get ready");
    await new Promise((done) => setTimeout(done, 2)); // what it writes is a file, by renaming: nothing to wait on
  }
  const readyMs = performance.now() - start;
  const { pid } = child;
  return {
    pid,
    readyMs,
    bpffs,
    residentMB: () => statusMB(pid, "VmRSS"),
    peakMB: () => statusMB(pid, "VmHWM"),
    cpuMs: () => cpuMs(pid),
    stop,
  };
}

function isReady(path: string): boolean {
  return existsSync(path) && JSON.parse(readFileSync(path, "utf8")).ready === true;
}

/** A line of /proc/PID/status, in MB of 10^6 bytes. */
function statusMB(pid: number, name: "VmRSS" | "VmHWM"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kB = new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(status)?.[1];
  return Number(kB) * 1024 / 1e6;
}

/** utime and stime of /proc/PID/stat (proc(5)), which count hundredths of a second. */
function cpuMs(pid: number): number {
  const words = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
  return (Number(words[11]) + Number(words[12])) * 10;
}
