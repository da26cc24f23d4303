/**
 * Traffic between two pods of one node: through pcnk's service, through the plain bridge, through kube-proxy's iptables
 * rules; the same two pods and the same server in turns.
 *
 * Client and server are pinned to one CPU. On two, a request waits for the other CPU to wake up, which takes ten times as
 * long as its way (on virtual machines more), and is the same for all: the differences would drown.
 */
import { availableParallelism } from "node:os";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import { reasonIndex } from "../../src/bpf/reasons.ts";
import { fillServices } from "../../src/measure/fill.ts";
import { installPcnk } from "./dataplane.ts";
import type { ServicePort } from "../../src/measure/kubeproxy.ts";
import { type Figures, measure as load, type Mode, type Target } from "./load.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { ratioResult, type Result, type Series, type Unit } from "./result.ts";
import { Stage } from "./stage.ts";
import { buildTopology, PORT, serve, type Topology } from "./topology.ts";
import { bareVariant, iptablesMissing, Switch, type Variant } from "../../src/measure/variants.ts";
import { iptablesVariant, pcnkVariant } from "./variants.ts";

/** The service's address. */
const VIP = "10.96.0.1";

/** The last CPU; the harness and what else runs on the machine find the others. */
const CPU = availableParallelism() - 1;

type SideName = "plain" | "bare" | "pcnk" | "direct" | "iptables";

const LABELS: Record<SideName, string> = {
  plain: "plain bridge",
  bare: "plain bridge without netfilter",
  pcnk: "pcnk service",
  direct: "pcnk, pod to pod",
  iptables: "iptables service",
};

/** Makes two pods and both kinds of service, and gives the values of each side, run by run. */
async function compare(
  context: Context,
  mode: Mode,
  names: readonly SideName[],
  figure: (figures: Figures) => number,
): Promise<Record<SideName, number[]>> {
  return await Stage.with(context.signal, async (stage) => {
    const topology = await buildTopology(stage);
    await serve(stage, topology, CPU);
    const { variants, plane } = makeVariants(stage, topology, context, mode);
    const toggle = new Switch();
    stage.defer(() => toggle.to(undefined));
    const run = async (name: SideName) => {
      toggle.to(variants[name].variant);
      const { netns } = topology.client;
      const { sliceMs: ms, signal } = context;
      return figure(await load(mode, { netns, cpu: CPU }, variants[name].target, { ms, signal }));
    };
    const sides = Object.fromEntries(names.map((name) => [name, () => run(name)]));
    const values = await interleave(context, sides as Record<SideName, () => Promise<number>>);
    checkItsOurs(plane);
    return values;
  });
}

function makeVariants(
  stage: Stage,
  topology: Topology,
  { attach }: Context,
  mode: Mode,
): { variants: Record<SideName, { variant?: Variant; target: Target }>; plane: DataPlane } {
  const port = mode === "bulk" ? PORT + 1 : PORT;
  const { server } = topology;
  const services: ServicePort[] = [
    { addr: VIP, port, backends: [{ addr: server.addr, port }] },
  ];
  const plane = installPcnk(stage, topology, "bpf");
  fillServices(plane, services);
  const pcnk = pcnkVariant(topology, plane, attach);
  const pod = { addr: server.addr, port }, service = { addr: VIP, port };
  const variants = {
    plain: { variant: undefined, target: pod },
    bare: { variant: bareVariant(topology), target: pod },
    pcnk: { variant: pcnk, target: service },
    direct: { variant: pcnk, target: pod },
    iptables: { variant: iptablesVariant(topology, services), target: service },
  };
  return { variants, plane };
}

/** @throws {Error} when the service was not pcnk's doing: then something else was measured */
function checkItsOurs({ maps }: DataPlane): void {
  const counters = maps.counters.get(reasonIndex("forward_delivered"));
  if (!counters?.some(({ packets }) => packets > 0n)) {
    throw new Error("no packet of the service went through pcnk");
  }
}

function series(name: SideName, unit: Unit, values: Record<SideName, number[]>): Series {
  return { label: LABELS[name], unit, values: values[name] };
}

const microseconds = ({ p50 }: Figures) => p50 / 1000;

/** Request/response, one byte each way: median of a run's times. */
export const rr: Measure = {
  name: "rr",
  about: "TCP request/response through a service, against plain bridge and iptables",
  async run(context) {
    const values = await compare(context, "rr", sides("direct", "bare"), microseconds);
    const ratio = (id: string, title: string, a: SideName, b: SideName, bar?: number) =>
      result({ measure: "rr", id, title, ...atMost(bar) }, a, b, "µs", values);
    return [
      ratio("rr-plain", "TCP request/response p50: service ÷ plain bridge", "pcnk", "plain", 1),
      ...ifIptables(() =>
        ratio("rr-iptables", "the same ÷ iptables service", "pcnk", "iptables", 0.85)
      ),
      ratio("rr-bare", "the same ÷ plain bridge, bridge netfilter off", "pcnk", "bare"),
      ratio("rr-direct", "pod to pod with pcnk ÷ plain bridge", "direct", "plain"),
    ];
  },
};

/** The same by UDP; no bar, for the picture. */
export const udp: Measure = {
  name: "udp",
  about: "UDP request/response, likewise",
  async run(context) {
    const values = await compare(context, "udprr", ["pcnk", "plain"], microseconds);
    const title = "UDP request/response p50: service ÷ plain bridge";
    return [result({ measure: "udp", id: "udp-plain", title }, "pcnk", "plain", "µs", values)];
  },
};

/** One stream. */
export const bulk: Measure = {
  name: "bulk",
  about: "TCP throughput of one stream, likewise",
  async run(context) {
    const values = await compare(context, "bulk", sides(), ({ rate }) => rate / 1e9);
    const head = { measure: "bulk", id: "bulk-plain" };
    const title = "TCP throughput: service ÷ plain bridge";
    return [
      result({ ...head, title, ...atLeast(1) }, "pcnk", "plain", "GB/s", values),
      ...ifIptables(() => {
        const head = { measure: "bulk", id: "bulk-iptables", title: "the same ÷ iptables service" };
        return result(head, "pcnk", "iptables", "GB/s", values);
      }),
    ];
  },
};

/** Connect, one byte each way, close. */
export const connections: Measure = {
  name: "connections",
  about: "new TCP connections a second, likewise",
  async run(context) {
    const values = await compare(context, "crr", sides(), ({ rate }) => rate);
    const ratio = (id: string, title: string, b: SideName, bar?: number) =>
      result({ measure: "connections", id, title, ...atLeast(bar) }, "pcnk", b, "1/s", values);
    return [
      ...ifIptables(() =>
        ratio("connections-iptables", "new connections: service ÷ iptables", "iptables", 1.15)
      ),
      ratio("connections-plain", "new connections: service ÷ plain bridge", "plain"),
    ];
  },
};

/** What is compared; iptables only where it can be. */
function sides(...more: SideName[]): SideName[] {
  const names: SideName[] = ["plain", "pcnk", ...more];
  return iptablesMissing() ? names : [...names, "iptables"];
}

function ifIptables(make: () => Result): Result[] {
  const missing = iptablesMissing();
  if (missing) console.error(`not compared with iptables: ${missing}`);
  return missing ? [] : [make()];
}

function result(
  head: Omit<Parameters<typeof ratioResult>[0], "unit">,
  a: SideName,
  b: SideName,
  unit: Unit,
  values: Record<SideName, number[]>,
): Result {
  return ratioResult(head, series(a, unit, values), series(b, unit, values));
}

function atMost(value?: number) {
  return value === undefined ? {} : { bar: { op: "<=", value } as const };
}

function atLeast(value?: number) {
  return value === undefined ? {} : { bar: { op: ">=", value } as const };
}
