/** A real agent of dist/pcnk in a node of its own, with a cluster as manifests: until when is it ready, how large is it. */
import { existsSync, readFileSync } from "node:fs";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
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
  stop(): Promise<void>;
}

/** Starts an agent and waits until it is ready. */
export async function startAgent(stage: Stage, manifests: string): Promise<Agent> {
  const name = `agent${++number}`;
  const node = stage.netns(name);
  {
    using nl = RtNetlink.open(node);
    nl.setLink(nl.link("lo")!.index, { up: true });
  }
  const dir = `${stage.dir}/${name}`;
  Deno.mkdirSync(dir);
  const stateDir = `${dir}/state`, bpffs = `${dir}/bpf`;
  const start = performance.now();
  const child = new Deno.Command("nsenter", {
    args: [
      `--net=${node}`,
      pcnk(),
      ...["agent", "--manifests", manifests, "--node-name", "node0"],
      ...["--bpffs", bpffs, "--state-dir", stateDir],
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
  return { pid: child.pid, readyMs, bpffs, residentMB: () => residentMB(child.pid), stop };
}

function isReady(path: string): boolean {
  return existsSync(path) && JSON.parse(readFileSync(path, "utf8")).ready === true;
}

/** VmRSS, in MB of 10^6 bytes. */
function residentMB(pid: number): number {
  const kB = /^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kB) * 1024 / 1e6;
}
