/**
 * The first packet of a flow, which has to find its service: connect() at ten services and at ten thousand, ten backends
 * each. Every connection goes to another service, so the ten thousand do not fit into the processor's nearest caches.
 */
import { availableParallelism } from "node:os";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { addEndpoint, fillServices, installPcnk } from "./dataplane.ts";
import type { ServicePort } from "./kubeproxy.ts";
import { measure as load } from "./load.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { ratioResult } from "./result.ts";
import { Stage } from "./stage.ts";
import { buildTopology, PORT, serve, type Topology } from "./topology.ts";
import { pcnkVariant, Switch } from "./variants.ts";

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

/** Connect latency through `n` services and through `m`, run by run, in µs. */
async function compare(context: Context, counts: readonly number[]) {
  return await Stage.with(context.signal, async (stage) => {
    const topology = await buildTopology(stage);
    await serve(stage, topology, CPU);
    const backends = backendAddresses(topology).map((addr) => ({ addr, port: PORT }));
    const toggle = new Switch();
    const sides = counts.map((count) => {
      const plane = installPcnk(stage, topology, `bpf-${count}`);
      for (const { addr } of backends) {
        addEndpoint(plane, topology.server, addr, topology.bridge.addr);
      }
      fillServices(plane, manyServices(count, backends));
      const variant = pcnkVariant(topology, plane, context.attach);
      return [String(count), async () => {
        toggle.to(variant);
        const target = { addr: serviceAddress(0), port: PORT, addresses: count };
        const { sliceMs: ms, signal } = context;
        const place = { netns: topology.client.netns, cpu: CPU };
        return (await load("connect", place, target, { ms, signal })).p50 / 1000;
      }] as const;
    });
    stage.defer(() => toggle.to(undefined));
    return await interleave(context, Object.fromEntries(sides));
  });
}

/** Ten thousand services against ten. */
export const firstPacket: Measure = {
  name: "first-packet",
  about: "connect() at 10,000 services against 10",
  async run(context) {
    const values = await compare(context, [10, 10_000]);
    const series = (count: number) => ({
      label: `${count.toLocaleString("en")} services`,
      unit: "µs" as const,
      values: values[String(count)]!,
    });
    const head = {
      measure: "first-packet",
      id: "first-packet",
      title: "first packet (connect p50): 10,000 services ÷ 10",
      bar: { op: "<=", value: 1.1 } as const,
    };
    return [ratioResult(head, series(10_000), series(10))];
  },
};
