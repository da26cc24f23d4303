/**
 * What `pcnk monitor` costs the data plane while a pod floods a service that drops: request/response of the same pod's
 * other flow, with and without a listener in turns; and the programs' own time for a packet (BPF_PROG_TEST_RUN).
 *
 * Client and server share one CPU as in traffic.ts, the flood has the first one; so has the listener, or where the
 * scheduler puts it.
 */
import { availableParallelism } from "node:os";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import { NAME_KIND, SCOPE, SERVICE_FLAG } from "../../src/bpf/layout.ts";
import { type Reason, reasonIndex } from "../../src/bpf/reasons.ts";
import { monotonicNow } from "../../src/linux/clock.ts";
import { fillServices } from "../../src/measure/fill.ts";
import { attachPcnk, installPcnk } from "./dataplane.ts";
import { type Figures, measure as load } from "./load.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { programCost } from "./monitor_cost.ts";
import { ratioResult, type Result } from "./result.ts";
import { Stage } from "./stage.ts";
import { pcnk } from "./subject.ts";
import { buildTopology, PORT, serve, type Topology } from "./topology.ts";

const VIP = "10.96.0.1";
/** Its traffic policy is Local, and no backend is here: what is sent to it is dropped. */
const SINK = { addr: "10.96.0.2", port: 9 };
/** IP protocol number (IANA). */
const UDP = 17;
const CPU = availableParallelism() - 1;
/** Packets a second: more than the bar speaks of, for the sender is late at times. */
const RATE = 130_000;
const LEAST = 100_000;

/** What is listened to; names of the sides of the comparison. */
const LISTENERS = {
  nobody: undefined,
  drops: [],
  filtered: ["--service", "bench/sink", "--reason", "drop"],
  flows: ["--flows", "--one-in", "100"],
} as const satisfies Record<string, readonly string[] | undefined>;
type Listener = keyof typeof LISTENERS;

const TITLES: Record<Exclude<Listener, "nobody">, string> = {
  drops: "TCP request/response p50 beside 100,000 drops/s: pcnk monitor ÷ nobody listens",
  filtered: "the same, monitor --service --reason",
  flows: "the same, monitor --flows --one-in 100",
};

interface Scene extends Context {
  stage: Stage;
  topology: Topology;
  plane: DataPlane;
}

async function build(context: Context, stage: Stage): Promise<Scene> {
  const topology = await buildTopology(stage);
  await serve(stage, topology, CPU);
  const plane = installPcnk(stage, topology, "bpf");
  fillServices(plane, [{ addr: VIP, port: PORT, backends: [{ ...topology.server, port: PORT }] }]);
  addSink(plane);
  attachPcnk(topology, plane, context.attach);
  return { ...context, stage, topology, plane };
}

function addSink({ maps }: DataPlane): void {
  const id = 4_000_000;
  maps.services.set({ ...SINK, proto: UDP, scope: SCOPE.CLUSTER }, {
    id,
    first: 0,
    count: 0,
    total_weight: 0,
    affinity_seconds: 0,
    flags: SERVICE_FLAG.LOCAL_ONLY,
    table: 0,
  });
  maps.names.set({ kind: NAME_KIND.SERVICE_PORT, id }, { text: "bench/sink:9/UDP" });
}

function counted({ maps }: DataPlane, reason: Reason): number {
  const cpus = maps.counters.get(reasonIndex(reason)) ?? [];
  return Number(cpus.reduce((sum, { packets }) => sum + packets, 0n));
}

/** Runs `work` while a monitor listens, if one is asked for. */
async function beside<T>(
  { stage, topology, plane, signal }: Scene,
  args: readonly string[] | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (!args) {
    await new Promise((done) => setTimeout(done, 500));
    return await work();
  }
  const place = ["--bpffs", plane.bpffs, "--state-dir", stage.dir];
  const child = new Deno.Command("nsenter", {
    args: [`--net=${topology.node}`, pcnk(), "monitor", ...place, ...args],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const deadline = performance.now() + 10_000;
    while ((plane.maps.monitor.get(0)?.until ?? 0n) <= monotonicNow()) {
      signal.throwIfAborted();
      if (performance.now() > deadline) throw new Error("pcnk monitor does not listen");
      await new Promise((done) => setTimeout(done, 10));
    }
    // What a process does once, at its start, is not what listening costs.
    await new Promise((done) => setTimeout(done, 500));
    return await work();
  } finally {
    child.kill("SIGINT");
    await child.status;
  }
}

/** Request/response while the flood goes on, and the drops a second meanwhile. */
async function flooded(scene: Scene): Promise<Figures & { drops: number }> {
  const { topology, plane, sliceMs: ms, signal } = scene;
  const { netns } = topology.client;
  const before = counted(plane, "drop_no_local_backend");
  const flood = load("flood", { netns, cpu: 0 }, SINK, { ms: ms + 200, rate: RATE, signal });
  const target = { addr: VIP, port: PORT };
  const figures = await load("rr", { netns, cpu: CPU }, target, { ms, warmupMs: 100, signal });
  const { seconds } = await flood;
  return { ...figures, drops: (counted(plane, "drop_no_local_backend") - before) / seconds };
}

function results(found: Record<Listener, Figures[]>, note: string): Result[] {
  const row = (
    name: Listener,
    unit: "µs" | "1/s",
    figure: (figures: Figures) => number,
    head: Pick<Result, "id" | "title" | "bar">,
  ) => {
    const series = (label: string, side: Listener) => ({
      label,
      unit,
      values: found[side].map(figure),
    });
    return ratioResult(
      { measure: "monitor", note, ...head },
      series("listening", name),
      series("nobody", "nobody"),
    );
  };
  const names = Object.keys(TITLES) as (keyof typeof TITLES)[];
  return [
    ...names.map((name) =>
      row(name, "µs", ({ p50 }) => p50 / 1000, {
        id: `monitor-${name}`,
        title: TITLES[name],
        bar: { op: "<=", value: 1.03 },
      })
    ),
    row("drops", "1/s", ({ rate }) => rate, {
      id: "monitor-rate",
      title: "requests a second beside 100,000 drops/s: pcnk monitor ÷ nobody listens",
      bar: { op: ">=", value: 0.97 },
    }),
  ];
}

async function run(context: Context): Promise<Result[]> {
  return await Stage.with(context.signal, async (stage) => {
    const scene = await build(context, stage);
    const names = Object.keys(LISTENERS) as Listener[];
    const found = Object.fromEntries(
      names.map((name) => [name, []]),
    ) as unknown as Record<Listener, Figures[]>;
    const drops: number[] = [];
    const sides = Object.fromEntries(names.map((name) => [name, async () => {
      const figures = await beside(scene, LISTENERS[name], () => flooded(scene));
      found[name].push(figures);
      drops.push(figures.drops);
      return figures.rate;
    }]));
    const lostBefore = counted(scene.plane, "event_monitor_lost");
    await interleave(context, sides);
    const rate = drops.sort((a, b) => a - b)[drops.length >> 1]!;
    if (rate < LEAST) throw new Error(`only ${Math.round(rate)} packets a second were dropped`);
    const lost = counted(scene.plane, "event_monitor_lost") - lostBefore;
    if (lost === 0) throw new Error("the monitors were told of everything: nobody listened");
    const cost = await programCost(context, (args, work) => beside(scene, args, work), scene);
    return [...results(found, `${Math.round(rate / 1000)},000 drops a second on one CPU`), ...cost];
  });
}

/** The measure. */
export const monitor: Measure = {
  name: "monitor",
  about: "what pcnk monitor costs the data plane beside 100,000 drops a second",
  run,
};
