/** Ten thousand services with ten backends each: into the maps, one of them anew, and what the agent weighs with them. */
import { join } from "node:path";
import { root } from "../../src/build/steps.ts";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { SCOPE } from "../../src/bpf/layout.ts";
import { type Agent, startAgent } from "./agent.ts";
import { clusterIP, LARGE, manifest, writeManifests } from "./cluster.ts";
import { backendAddress } from "./cluster.ts";
import type { Measure } from "./measure.ts";
import type { ReconcileFigures } from "./reconcile_child.ts";
import { absoluteResult } from "./result.ts";
import { Stage } from "./stage.ts";
import { median, quantile } from "./stats.ts";

const TCP = 6;

/** The agent's reconciler alone. */
export const load: Measure = {
  name: "load",
  about: "10,000 services × 10 backends into the maps, and an update of one",
  async run({ signal, runs, progress }) {
    const figures: ReconcileFigures[] = [];
    await Stage.with(signal, async (stage) => {
      const netns = stage.netns("load");
      for (let i = 0; i < Math.ceil(runs / 2); i++) {
        progress(`${i + 1}/${Math.ceil(runs / 2)}`);
        figures.push(await reconcileOnce(`${stage.dir}/bpf${i}`, netns, signal));
      }
    });
    const head = (id: string, title: string) => ({ measure: "load", id, title });
    const atMost = (value: number) => ({ bar: { op: "<=", value } as const });
    const updates = figures.map(({ updates }) => updates);
    return [
      absoluteResult(
        { ...head("load-full", "10,000 × 10 from objects into the maps"), ...atMost(2) },
        "s",
        figures.map(({ load }) => load / 1000),
      ),
      absoluteResult(
        { ...head("load-update", "an update of one of them, p50"), ...atMost(5) },
        "ms",
        updates.map(median),
      ),
      absoluteResult(
        { ...head("load-update-p99", "the same, p99"), ...atMost(5) },
        "ms",
        updates.map((values) => quantile(values, 0.99)),
      ),
    ];
  },
};

/** The case that takes kube-proxy minutes (kubernetes#135639). */
export const resync: Measure = {
  name: "resync",
  about: "5,006 services with 250,011 backends into the maps",
  async run({ signal, runs, progress }) {
    const count = Math.max(3, Math.floor(runs / 4));
    const seconds: number[] = [];
    await Stage.with(signal, async (stage) => {
      const netns = stage.netns("resync");
      for (let i = 0; i < count; i++) {
        progress(`${i + 1}/${count}`);
        const place = [`${stage.dir}/bpf${i}`, netns];
        seconds.push(await runChild<number>("resync_child.ts", place, signal) / 1000);
      }
    });
    const head = { measure: "resync", id: "resync", title: "5,006 services, 250,011 backends" };
    return [absoluteResult({ ...head, bar: { op: "<=", value: 5 } }, "s", seconds)];
  },
};

/** Load and updates in a fresh process; the data plane is made at `bpffs`. */
export function reconcileOnce(bpffs: string, netns: string, signal: AbortSignal) {
  return runChild<ReconcileFigures>("reconcile_child.ts", [bpffs, netns], signal);
}

async function runChild<T>(name: string, words: string[], signal: AbortSignal): Promise<T> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", join(root, "tests/bench", name), ...words],
    cwd: root,
    stdin: "null",
    signal,
  }).output();
  signal.throwIfAborted();
  const text = new TextDecoder();
  if (!success) throw new Error(text.decode(stderr));
  return JSON.parse(text.decode(stdout)) as T;
}

/** How long an agent is left alone before it is weighed. */
const SETTLE_MS = 5000;

/** The whole agent, dist/pcnk. */
export const agent: Measure = {
  name: "agent",
  about: "the agent's memory, idle and with 10,000 × 10, and how soon it is ready",
  async run({ signal, runs, progress }) {
    const idle: number[] = [], full: number[] = [], ready: number[] = [], fullReady: number[] = [];
    const updates: number[] = [];
    const count = Math.max(3, Math.floor(runs / 4));
    await Stage.with(signal, async (stage) => {
      const small = `${stage.dir}/small`, large = `${stage.dir}/large`;
      writeManifests(small, { services: 3, backends: 2 });
      writeManifests(large, LARGE);
      for (let i = 0; i < count; i++) {
        progress(`${i + 1}/${count}`);
        const one = await startAgent(stage, small);
        const other = await startAgent(stage, large);
        ready.push(one.readyMs);
        fullReady.push(other.readyMs / 1000);
        await settle(signal);
        idle.push(one.residentMB());
        full.push(other.residentMB());
        updates.push(await updateLast(other, large, i + 1));
        await one.stop();
        await other.stop();
      }
    });
    const head = (id: string, title: string) => ({ measure: "agent", id, title });
    const atMost = (value: number) => ({ bar: { op: "<=", value } as const });
    return [
      absoluteResult({ ...head("agent-idle", "agent's memory, idle"), ...atMost(90) }, "MB", idle),
      absoluteResult(
        { ...head("agent-full", "agent's memory with 10,000 × 10"), ...atMost(250) },
        "MB",
        full,
      ),
      absoluteResult(head("agent-ready", "agent: start until ready"), "ms", ready),
      absoluteResult(
        head("agent-full-ready", "the same with 10,000 × 10 as YAML"),
        "s",
        fullReady,
      ),
      absoluteResult(
        head("agent-update", "manifest replaced until the map has it"),
        "ms",
        updates,
      ),
    ];
  },
};

function settle(signal: AbortSignal): Promise<void> {
  return new Promise((done, failed) => {
    const timer = setTimeout(done, SETTLE_MS);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      failed(signal.reason);
    }, { once: true });
  });
}

/** Gives the last service another backend and waits until the map has it. Returns ms. */
async function updateLast(agent: Agent, folder: string, generation: number): Promise<number> {
  using plane = openDataPlane(agent.bpffs);
  const { services, backends } = plane.maps;
  const last = LARGE.services - 1;
  const key = { addr: clusterIP(last), port: 80, proto: TCP, scope: SCOPE.CLUSTER };
  const wanted = backendAddress(last, 0, generation);
  Deno.writeTextFileSync(`${folder}/.last`, manifest(last, LARGE.backends, generation));
  const start = performance.now();
  Deno.renameSync(`${folder}/.last`, `${folder}/last.yaml`);
  while (performance.now() - start < 10_000) {
    const { first, count } = services.get(key)!;
    if (backends.range(first, count).some(({ addr }) => addr === wanted)) {
      return performance.now() - start;
    }
    await new Promise((done) => setTimeout(done, 0.2));
  }
  throw new Error("the agent has not noticed the new manifest in 10 s");
}
