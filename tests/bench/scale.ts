/** Ten thousand services with ten backends each: into the maps, one of them anew, and what the agent weighs with them. */
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { type Agent, startAgent } from "./agent.ts";
import { runChild } from "./child.ts";
import { backendAddress, backendsOf, LARGE, manifest, writeManifests } from "./cluster.ts";
import { type Measure, pause } from "./measure.ts";
import type { ReconcileFigures } from "./reconcile_child.ts";
import { Stage } from "./stage.ts";
import { median, quantile } from "./stats.ts";

/** The agent's reconciler alone. */
export const load = inMaps(
  ["load", "10,000 services × 10 backends into the maps, and an update of one"],
  (runs) => Math.ceil(runs / 2),
  reconcileOnce,
);

/** The case that takes kube-proxy minutes (kubernetes#135639). */
export const resync = inMaps(
  ["resync", "5,006 services with 250,011 backends into the maps"],
  (runs) => Math.max(3, Math.floor(runs / 4)),
  (...place) => reconcile(...place, 5006, 250_011, 0),
);

function inMaps(
  [name, about]: readonly [string, string],
  rounds: (runs: number) => number,
  once: typeof reconcileOnce,
): Measure {
  const run: Measure["run"] = async ({ signal, runs, progress }) => {
    const figures: ReconcileFigures[] = [];
    await Stage.with(signal, async (stage) => {
      const netns = stage.netns(name);
      for (let i = 0; i < rounds(runs); i++) {
        progress(`${i + 1}/${rounds(runs)}`);
        figures.push(await once(`${stage.dir}/bpf${i}`, netns, signal));
      }
    });
    const full = figures.map(({ load }) => load / 1000);
    const updates = figures.map(({ updates }) => updates).filter(({ length }) => length > 0);
    const p99 = updates.map((values) => quantile(values, 0.99));
    return { values: { full, update: updates.map(median), "update p99": p99 } };
  };
  return { name, about, run };
}

/** Load and a hundred updates in a fresh process; the data plane is made at `bpffs`. */
export function reconcileOnce(bpffs: string, netns: string, signal: AbortSignal) {
  return reconcile(bpffs, netns, signal, LARGE.services, LARGE.services * LARGE.backends, 100);
}

function reconcile(bpffs: string, netns: string, signal: AbortSignal, ...numbers: number[]) {
  const words = [bpffs, netns, ...numbers.map(String)];
  return runChild<ReconcileFigures>("reconcile_child.ts", words, { signal });
}

/** How long an agent is left alone before it is weighed. */
const SETTLE_MS = 5000;

/** The whole agent, dist/pcnk. */
export const agent: Measure = {
  name: "agent",
  about: "the agent's memory, idle and with 10,000 × 10, and how soon it is ready",
  async run({ signal, runs, progress }) {
    const rounds = Math.max(3, Math.floor(runs / 4));
    const names = ["idle", "large", "ready", "large ready", "update"] as const;
    const values = Object.fromEntries(names.map((name) => [name, [] as number[]]));
    const add = (figures: Record<typeof names[number], number>) =>
      Object.entries(figures).forEach(([name, value]) => values[name]!.push(value));
    await Stage.with(signal, async (stage) => {
      const small = `${stage.dir}/small`, large = `${stage.dir}/large`;
      writeManifests(small, { services: 3, backends: 2 });
      writeManifests(large, LARGE);
      for (let i = 0; i < rounds; i++) {
        progress(`${i + 1}/${rounds}`);
        const one = await startAgent(stage, small);
        const other = await startAgent(stage, large);
        await pause(SETTLE_MS, signal);
        add({
          idle: one.residentMB(),
          large: other.residentMB(),
          ready: one.readyMs,
          "large ready": other.readyMs / 1000,
          update: median(await updates(other, large)),
        });
        await one.stop();
        await other.stop();
      }
    });
    return { values };
  },
};

/** Milliseconds of so many updates of an agent, whose first ones run code that is not compiled yet. */
async function updates(agent: Agent, folder: string): Promise<number[]> {
  const taken: number[] = [];
  for (let i = 1; i <= 20; i++) taken.push(await updateLast(agent, folder, i));
  return taken;
}

/** Gives the last service another backend and waits until the map has it. Returns ms. */
async function updateLast(agent: Agent, folder: string, generation: number): Promise<number> {
  using plane = openDataPlane(agent.bpffs);
  const last = LARGE.services - 1;
  const wanted = backendAddress(last, 0, generation);
  Deno.writeTextFileSync(`${folder}/.last`, manifest(last, LARGE.backends, generation));
  const start = performance.now();
  Deno.renameSync(`${folder}/.last`, `${folder}/last.yaml`);
  while (!backendsOf(plane.maps, last).includes(wanted)) {
    if (performance.now() - start > 10_000) {
      throw new Error("the agent has not noticed the new manifest in 10 s");
    }
    await pause(0.2);
  }
  return performance.now() - start;
}
