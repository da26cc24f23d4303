/**
 * The first packet of a flow, which has to find its service: connect() at ten services and at ten thousand, ten backends
 * each. Once to ten services on either side, so that nothing but the number of services differs; and once to each of the
 * ten thousand in turn, which do not fit into the processor's nearest caches (and neither does what the client's own
 * kernel keeps of ten thousand destinations).
 */
import { availableParallelism } from "node:os";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { fillServices } from "../../src/measure/fill.ts";
import { addEndpoint, installPcnk } from "./dataplane.ts";
import type { ServicePort } from "../../src/measure/kubeproxy.ts";
import { measure as load } from "./load.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { ratioResult } from "./result.ts";
import { Stage } from "./stage.ts";
import { buildTopology, PORT, serve, type Topology } from "./topology.ts";
import { Switch } from "../../src/measure/variants.ts";
import { pcnkVariant } from "./variants.ts";

const CPU = availableParallelism() - 1;
const FIRST_VIP = [10, 96, 0, 1];
const BACKENDS = 10;

/** `offset` addresses after 10.96.0.1. */
export function serviceAddress(offset: number): string {
  const number = FIRST_VIP.reduce((sum, byte) => sum * 256 + byte, 0) + offset;
  return [24, 16, 8, 0].map((bits) => (number >>> bits) & 255).join(".");
}

/** `count` services, each with the same backends. */
export function manyServices(count: number, backends: ServicePort["backends"]): ServicePort[] {
  return Array.from({ length: count }, (_, i) => ({
    addr: serviceAddress(i),
    port: PORT,
    backends,
  }));
}

/** More addresses for the server's pod, so that every backend of every service answers. */
function backendAddresses({ server }: Topology): string[] {
  using nl = RtNetlink.open(server.netns);
  const ifindex = nl.link("eth0")!.index;
  const addresses = Array.from({ length: BACKENDS }, (_, i) => `10.244.1.${200 + i}`);
  for (const address of addresses) nl.addAddr({ ifindex, address, prefixLength: 24 });
  return addresses;
}

/** Connections that are timed: through a node with `services` services, to `visited` of them in turns. */
interface Side {
  label: string;
  services: number;
  visited: number;
}

const FEW: Side = { label: "10 services", services: 10, visited: 10 };
const MANY: Side = { label: "10,000 services", services: 10_000, visited: 10 };
const ALL: Side = { label: "10,000 services, each in turn", services: 10_000, visited: 10_000 };

/** Connect latency of each side, run by run, in µs. */
async function compare(context: Context, sides: readonly Side[]) {
  return await Stage.with(context.signal, async (stage) => {
    const topology = await buildTopology(stage);
    await serve(stage, topology, CPU);
    const backends = backendAddresses(topology).map((addr) => ({ addr, port: PORT }));
    const variants = new Map([...new Set(sides.map(({ services }) => services))].map((count) => {
      const plane = installPcnk(stage, topology, `bpf-${count}`);
      for (const { addr } of backends) {
        addEndpoint(plane, topology.server, addr, topology.bridge.addr);
      }
      fillServices(plane, manyServices(count, backends));
      return [count, pcnkVariant(topology, plane, context.attach)];
    }));
    const toggle = new Switch();
    stage.defer(() => toggle.to(undefined));
    const run = async ({ services, visited }: Side) => {
      toggle.to(variants.get(services));
      const step = services / visited;
      const target = { addr: serviceAddress(0), port: PORT, addresses: visited, step };
      const { sliceMs: ms, signal } = context;
      const place = { netns: topology.client.netns, cpu: CPU };
      return (await load("connect", place, target, { ms, signal })).p50 / 1000;
    };
    const entries = sides.map((side) => [side.label, () => run(side)] as const);
    return await interleave(context, Object.fromEntries(entries));
  });
}

/** Ten thousand services against ten. */
export const firstPacket: Measure = {
  name: "first-packet",
  about: "connect() at 10,000 services against 10",
  async run(context) {
    const values = await compare(context, [FEW, MANY, ALL]);
    const ratio = (head: Omit<Parameters<typeof ratioResult>[0], "measure">, a: Side) => {
      const series = ({ label }: Side) => ({ label, unit: "µs" as const, values: values[label]! });
      return ratioResult({ measure: "first-packet", ...head }, series(a), series(FEW));
    };
    return [
      ratio({
        id: "first-packet",
        title: "first packet (connect p50): at 10,000 services ÷ at 10",
        bar: { op: "<=", value: 1.1 },
      }, MANY),
      ratio({
        id: "first-packet-all",
        title: "the same, each connection to another of the 10,000",
      }, ALL),
    ];
  },
};
