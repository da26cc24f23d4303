/**
 * A service among ten thousand: its first packet and its request/response, through pcnk, through the rules of the real
 * kube-proxy (iptables mode, on nf_tables and on the old tables), through an nftables ruleset of the form that kube-proxy's nft
 * mode writes. Each has a node with two pods of its own, all alike, so that ten thousand services are loaded once and not
 * at every turn.
 */
import { availableParallelism } from "node:os";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { API_PORT, apiServiceAddress } from "./api_objects.ts";
import { fillServices } from "../../src/measure/fill.ts";
import { installPcnk } from "./dataplane.ts";
import { findKit } from "./kit.ts";
import { kubeProxyRules } from "../../src/measure/kubeproxy.ts";
import { measure as load, type Target } from "./load.ts";
import { kubeProxyManyRules, MANY, manyApiServices, SERVER } from "./many.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { nftRules } from "../../src/measure/nft_rules.ts";
import { type Bar, ratioResult, type Result } from "./result.ts";
import { Stage } from "./stage.ts";
import { type BenchPod, buildTopology, CLUSTER_CIDR, serve, type Topology } from "./topology.ts";
import { iptablesMissing, runIn } from "../../src/measure/variants.ts";
import { pcnkVariant } from "./variants.ts";

const CPU = availableParallelism() - 1;
const SERVICE_CIDR = "10.96.0.0/16";

/** How many of the services are visited in turns; kube-proxy's rules are in no order, so some are early and some late. */
const VISITED = 100;

const SIDES = ["pcnk", "iptables", "legacy", "nft"] as const;
type Side = typeof SIDES[number];

/** What is measured of each side. */
const MODES = ["connect", "rr"] as const;
type Mode = typeof MODES[number];

const TARGETS: Record<Mode, Target> = {
  connect: {
    addr: apiServiceAddress(0),
    port: API_PORT,
    addresses: VISITED,
    step: MANY / VISITED,
  },
  rr: { addr: apiServiceAddress(MANY / 2), port: API_PORT },
};

/** The measure of two rows of bars: against iptables at ten thousand services, and against nft. */
export const manyServices: Measure = {
  name: "many",
  about: "first packet and request/response at 10,000 services, against kube-proxy's and nft's",
  async run(context) {
    const missing = iptablesMissing();
    if (missing) {
      console.error(`not compared with iptables and nft: ${missing}`);
      return [];
    }
    const rules = await iptablesRules(context);
    return rows(await compare(context, rules.text), rules.label);
  },
};

/** The real kube-proxy's where it can be had. */
async function iptablesRules(context: Context): Promise<{ text: string; label: string }> {
  const kit = findKit();
  if (typeof kit !== "string") {
    return { text: await kubeProxyManyRules(context, kit), label: "kube-proxy 1.20" };
  }
  console.error(`not compared with the real kube-proxy but with rules of its form: ${kit}`);
  return { text: kubeProxyRules(manyApiServices(), CLUSTER_CIDR), label: "rules as of 1.31" };
}

/** µs of every side and mode, run by run. */
async function compare(context: Context, rules: string): Promise<Record<string, number[]>> {
  return await Stage.with(context.signal, async (stage) => {
    const topologies = {} as Record<Side, Topology>;
    for (const side of SIDES) {
      context.progress(`${side}: ${MANY} services`);
      topologies[side] = await buildTopology(stage, `${side}-`);
      await serve(stage, topologies[side], CPU);
      install[side](stage, topologies[side], context, rules);
    }
    const { sliceMs: ms, signal } = context;
    const run = async (mode: Mode, { netns }: BenchPod, target: Target) =>
      (await load(mode, { netns, cpu: CPU }, target, { ms, signal })).p50 / 1000;
    const sides = SIDES.flatMap((side) =>
      MODES.map((mode) =>
        [key(side, mode), () => run(mode, topologies[side].client, TARGETS[mode])] as const
      )
    );
    const { server } = topologies.pcnk;
    {
      using nl = RtNetlink.open(server.netns);
      nl.setLink(nl.link("lo")!.index, { up: true });
    }
    const loopback = () => run("rr", server, { addr: "127.0.0.1", port: API_PORT });
    return await interleave(context, Object.fromEntries([...sides, [LOOPBACK, loopback]]));
  });
}

/** The server's process without a network before it: what no way between two pods can be below. */
const LOOPBACK = "loopback";

function key(side: Side, mode: Mode): string {
  return `${side} ${mode}`;
}

/** Puts the ten thousand services on a node. */
const install: Record<
  Side,
  (stage: Stage, topology: Topology, context: Context, rules: string) => void
> = {
  pcnk(stage, topology, { attach }) {
    const plane = installPcnk(stage, topology, "bpf");
    fillServices(plane, services(topology));
    pcnkVariant(topology, plane, attach).on();
  },
  iptables: (_, topology, __, rules) => {
    services(topology);
    runIn(topology.node, ["iptables-restore"], rules);
  },
  legacy: (_, topology, __, rules) => {
    services(topology);
    runIn(topology.node, ["iptables-legacy-restore"], rules);
  },
  nft(_, topology) {
    const options = {
      clusterCIDR: CLUSTER_CIDR,
      serviceCIDR: SERVICE_CIDR,
      nodeAddresses: [topology.bridge.addr],
    };
    runIn(topology.node, ["nft", "-f", "-"], nftRules(services(topology), options));
  },
};

/** @throws {Error} when the server is not where kube-proxy was told it is */
function services({ server }: Topology) {
  if (server.addr !== SERVER) throw new Error(`the server has ${server.addr}, not ${SERVER}`);
  return manyApiServices();
}

function rows(values: Record<string, number[]>, iptables: string): Result[] {
  const labels: Record<Side, string> = {
    pcnk: "pcnk",
    iptables: `${iptables}, iptables`,
    legacy: `${iptables}, old iptables`,
    nft: "nft",
  };
  const bars: Partial<Record<Side, Bar>> = {
    iptables: { op: "<=", value: 0.5 },
    nft: { op: "<=", value: 0.95 },
  };
  const us = (label: string, name: string) => ({
    label,
    unit: "µs" as const,
    values: values[name]!,
  });
  const side = (name: Side, mode: Mode) => us(labels[name], key(name, mode));
  const row = (mode: Mode, peer: Side, title: string, note?: string) => {
    const head = { measure: "many", id: `many-${mode}-${peer}`, title, bar: bars[peer], note };
    return ratioResult(head, side("pcnk", mode), side(peer, mode));
  };
  const floor = "for comparison: loopback, no network at all ÷ kube-proxy iptables";
  return [
    row(
      "connect",
      "iptables",
      "first packet (connect p50) at 10,000 services ÷ kube-proxy iptables",
    ),
    row("connect", "legacy", "the same ÷ kube-proxy on the old iptables"),
    row("connect", "nft", "the same ÷ nft as kube-proxy writes it"),
    row(
      "rr",
      "iptables",
      "TCP request/response p50 at 10,000 services ÷ kube-proxy iptables",
      "loopback alone is above this bar (see the row for comparison): nothing that leaves the round trip to TCP can reach it",
    ),
    row("rr", "legacy", "the same ÷ kube-proxy on the old iptables"),
    row("rr", "nft", "the same ÷ nft as kube-proxy writes it"),
    ratioResult(
      { measure: "many", id: "many-rr-loopback", title: floor },
      us(LOOPBACK, LOOPBACK),
      side("iptables", "rr"),
    ),
  ];
}
