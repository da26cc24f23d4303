/**
 * What `pcnk monitor` costs the data plane while a pod floods a service that drops: request/response of the same pod's
 * other flow, with and without a listener in turns; and the programs' own time for a packet (BPF_PROG_TEST_RUN).
 *
 * Client and server share one CPU, the flood has the first one; so has the listener, or where the scheduler puts it.
 */
import { NAME_KIND, SCOPE, SERVICE_FLAG } from "../../src/bpf/layout.ts";
import { type Reason, reasonIndex } from "../../src/bpf/reasons.ts";
import { monotonicNow } from "../../src/linux/clock.ts";
import { measure as load, microseconds, pinnedAt } from "./load.ts";
import { type Context, interleave, type Measure, pause } from "./measure.ts";
import { type Listener, programCost } from "./monitor_cost.ts";
import { installPcnk, oneNode, PORT, VIP } from "./one_node.ts";
import { series } from "./result.ts";
import { Stage } from "./stage.ts";
import { median } from "./stats.ts";
import { pcnk } from "./subject.ts";

/** Its traffic policy is Local, and no backend is here: what is sent to it is dropped. */
const SINK = { addr: "10.96.0.2", port: 9 };
/** IP protocol number (IANA). */
const UDP = 17;
/** Packets a second: more than the bar speaks of, for the sender is late at times. */
const RATE = 130_000;
const LEAST = 100_000;

const LISTENERS: Record<string, Listener> = {
  "no listener": undefined,
  drops: [],
  filtered: ["--service", "bench/sink", "--reason", "drop"],
  flows: ["--flows", "--one-in", "100"],
};

/** A node with a client, a service, and a sink that drops. */
async function scene(stage: Stage, { attach, signal, sliceMs: ms }: Context) {
  const testbed = await oneNode(stage);
  const client = testbed.client.netns, { server } = testbed;
  const services = [{ addr: VIP, port: PORT, backends: [{ addr: server.addr, port: PORT }] }];
  const installed = installPcnk(stage, testbed, attach, services);
  const { maps, bpffs } = installed.plane;
  const id = 4_000_000;
  const none = { first: 0, count: 0, total_weight: 0, affinity_seconds: 0, table: 0 };
  const flags = SERVICE_FLAG.LOCAL_ONLY;
  maps.services.set({ ...SINK, proto: UDP, scope: SCOPE.CLUSTER }, { id, ...none, flags });
  maps.names.set({ kind: NAME_KIND.SERVICE_PORT, id }, { text: "bench/sink:9/UDP" });
  installed.on();

  const counted = (reason: Reason) => {
    const cpus = maps.counters.get(reasonIndex(reason)) ?? [];
    return Number(cpus.reduce((sum, { packets }) => sum + packets, 0n));
  };
  /** Runs `work` while a monitor listens, if one is asked for. */
  const beside = async <T>(listener: Listener, work: () => Promise<T>): Promise<T> => {
    if (!listener) {
      await pause(500);
      return await work();
    }
    const place = ["--bpffs", bpffs, "--state-dir", stage.dir];
    const child = new Deno.Command("nsenter", {
      args: [`--net=${testbed.node}`, pcnk(), "monitor", ...place, ...listener],
      ...{ stdin: "null", stdout: "null", stderr: "null" },
    }).spawn();
    try {
      const deadline = performance.now() + 10_000;
      while ((maps.monitor.get(0)?.until ?? 0n) <= monotonicNow()) {
        signal.throwIfAborted();
        if (performance.now() > deadline) throw new Error("pcnk monitor does not listen");
        await pause(10);
      }
      await pause(500); // what a process does once, at its start, is not what listening costs
      return await work();
    } finally {
      child.kill("SIGINT");
      await child.status;
    }
  };
  /** Request/response while the flood goes on, and the drops a second meanwhile. */
  const flooded = async () => {
    const before = counted("drop_no_local_backend");
    const flood = load("flood", pinnedAt(client, 0), SINK, { ms: ms + 200, rate: RATE, signal });
    const target = { addr: VIP, port: PORT };
    const figures = await load("rr", pinnedAt(client), target, { ms, warmupMs: 100, signal });
    const { seconds } = await flood;
    return { ...figures, drops: (counted("drop_no_local_backend") - before) / seconds };
  };
  return { stage, plane: installed.plane, counted, beside, flooded };
}

export const monitor: Measure = {
  name: "monitor",
  about: "what pcnk monitor costs the data plane beside 100,000 drops a second",
  run: (context) =>
    Stage.with(context.signal, async (stage) => {
      const { plane, counted, beside, flooded } = await scene(stage, context);
      const drops: number[] = [];
      const p50: Record<string, number[]> = {};
      const lostBefore = counted("event_monitor_lost");
      const contenders = Object.entries(LISTENERS).map(([name, listener]) =>
        [name, async () => {
          const figures = await beside(listener, flooded);
          (p50[name] ??= []).push(microseconds(figures));
          drops.push(figures.drops);
          return figures.rate;
        }] as const
      );
      const rates = await interleave(context, Object.fromEntries(contenders));
      const rate = median(drops);
      if (rate < LEAST) throw new Error(`only ${Math.round(rate)} packets a second were dropped`);
      if (counted("event_monitor_lost") === lostBefore) {
        throw new Error("the monitors lost no event: none listened");
      }
      const cost = await programCost(context, beside, { stage, plane });
      return {
        values: { ...series("p50", p50), ...series("rate", rates), ...cost },
        note: `${Math.round(rate / 1000)},000 drops a second on one CPU`,
      };
    }),
};
