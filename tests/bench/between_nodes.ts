/**
 * Measures on two nodes. Pods: a service against the pod itself, over the overlay and direct routes; the overlay against the
 * kernel's VXLAN as flannel sets it up; a service against kube-proxy over that. A process of the node. NodePorts from outside,
 * externalTrafficPolicy Cluster, with the backend on the node that is asked and on the other. A pod that talks to the world.
 */
import { readFileSync } from "node:fs";
import type { RoutingMode } from "../../src/lab/plan.ts";
import { withNetns } from "../../src/linux/netns.ts";
import { measure as load, microseconds, perSecond } from "./load.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { series } from "./result.ts";
import { Stage } from "./stage.ts";
import { type Carrier, type From, type To, type TwoNodes, twoNodes } from "./two_nodes.ts";

/** Who connects to what, and by what the traffic is carried. */
type Contender = readonly [by: Carrier, from: From, to: To];

const PODS = {
  "pcnk service": ["pcnk", "pod", "service"],
  "pcnk, pod to pod": ["pcnk", "pod", "pod"],
} satisfies Record<string, Contender>;

const SERVICES = {
  "pcnk service": ["pcnk", "pod", "service"],
  "kube-proxy": ["kube-proxy", "pod", "service"],
  "kube-proxy's nft form": ["nft", "pod", "service"],
} satisfies Record<string, Contender>;

const OVERLAY = {
  ...PODS,
  ...SERVICES,
  "plain VXLAN": ["vxlan", "pod", "pod"],
  "plain VXLAN without netfilter": ["vxlan-bare", "pod", "pod"],
} satisfies Record<string, Contender>;

const HOST = {
  "host to service": ["pcnk", "node", "service"],
  "host to pod": ["pcnk", "node", "pod"],
} satisfies Record<string, Contender>;

const NODE_PORTS = {
  "pcnk, local": ["pcnk", "outside", "nodeport-local"],
  "kube-proxy, local": ["kube-proxy", "outside", "nodeport-local"],
  "pcnk, remote": ["pcnk", "outside", "nodeport-remote"],
  "kube-proxy, remote": ["kube-proxy", "outside", "nodeport-remote"],
  "nft form, local": ["nft", "outside", "nodeport-local"],
  "nft form, remote": ["nft", "outside", "nodeport-remote"],
} satisfies Record<string, Contender>;

const WORLD = {
  "pcnk": ["pcnk", "pod", "world"],
  "pcnk, FORWARD DROP": ["pcnk-drop", "pod", "world"],
  "kube-proxy and masquerade": ["masquerade", "pod", "world"],
} satisfies Record<string, Contender>;

const FULL = {
  "pcnk, table full": ["pcnk-full", "outside", "nodeport-local"],
  "kube-proxy, local": NODE_PORTS["kube-proxy, local"],
} satisfies Record<string, Contender>;

/** Takes a figure of a contender. */
type Load = (context: Context, nodes: TwoNodes, contender: Contender) => Promise<number>;

const rr: Load = async ({ sliceMs: ms, signal }, nodes, [, from, to]) =>
  microseconds(await load("rr", nodes.client(from), nodes.target(to), { ms, signal }));

const crr: Load = async ({ sliceMs: ms, signal }, nodes, [, from, to]) =>
  perSecond(await load("crr", nodes.client(from), nodes.target(to), { ms, signal }));

/** Bytes of payload: the smallest Ethernet frame. */
const SMALL = 18;

/** UDP as fast as one core sends, carries and takes it. */
const flood: Load = async ({ sliceMs: ms, signal }, nodes, [, from, to]) => {
  const before = delivered(nodes.server.netnsPath);
  const options = { ms, bytes: SMALL, signal };
  const { seconds } = await load("flood", nodes.client(from), nodes.target(to), options);
  return (delivered(nodes.server.netnsPath) - before) / seconds;
};

/** Packets that have come to the sockets of a network namespace: InDelivers of /proc/net/snmp (RFC 1213). */
function delivered(netns: string): number {
  const text = withNetns(netns, () => readFileSync("/proc/thread-self/net/snmp", "utf8"));
  const [names, values] = text.split("\n").filter((line) => line.startsWith("Ip:"))
    .map((line) => line.split(" "));
  return Number(values![names!.indexOf("InDelivers")]);
}

/** A series of rows.ts: who is compared by which load. `share`: so much less often. */
interface Comparison {
  series: string;
  contenders: Record<string, Contender>;
  load: Load;
  share?: number;
}

function between(
  [name, about]: readonly [string, string],
  routing: RoutingMode,
  ...comparisons: Comparison[]
): Measure {
  const carriers = comparisons.flatMap(({ contenders }) => Object.values(contenders))
    .map(([by]) => by);
  const run: Measure["run"] = (context) =>
    Stage.with(context.signal, async (stage) => {
      context.progress("nodes");
      const nodes = await twoNodes(stage, context, routing, carriers);
      const values: Record<string, number[]> = {};
      for (const { series: name, contenders, load, share = 1 } of comparisons) {
        await nodes.serve(load === flood ? "sink" : "serve");
        const each = Object.entries(contenders).map(([label, contender]) =>
          [label, () => runChecked(context, nodes, label, contender, load)] as const
        );
        const runs = Math.ceil(context.runs * share);
        const taken = await interleave({ ...context, runs }, Object.fromEntries(each));
        Object.assign(values, series(name, taken));
      }
      return { values, note: nodes.note };
    });
  return { name, about, run };
}

/** @throws {Error} when something else was measured than what the contender says */
async function runChecked(
  context: Context,
  nodes: TwoNodes,
  label: string,
  contender: Contender,
  load: Load,
): Promise<number> {
  const [by] = contender;
  nodes.carry(by);
  const before = nodes.counted();
  const value = await load(context, nodes, contender);
  if (!(value > 0)) throw new Error(`${label}: nothing came through`);
  const packets = nodes.counted() - before;
  const pcnk = by.startsWith("pcnk");
  if (pcnk && packets === 0n) throw new Error(`${label}: no packet went through pcnk`);
  if (!pcnk && packets > 0n) throw new Error(`${label}: ${packets} packets met pcnk`);
  return value;
}

export const overlay = between(
  [
    "overlay",
    "pods of two nodes over the overlay: service, pod, against plain VXLAN and kube-proxy on it",
  ],
  "overlay",
  { series: "rr", contenders: OVERLAY, load: rr },
  { series: "crr", contenders: SERVICES, load: crr },
);

export const direct = between(
  ["direct", "pods of two nodes over direct routes: service against pod"],
  "direct",
  { series: "rr", contenders: PODS, load: rr },
);

export const host = between(
  ["host", "a process of the node: service against pod"],
  "overlay",
  { series: "rr", contenders: HOST, load: rr },
);

export const nodePort = between(
  ["nodeport", "NodePorts from outside, backend local and remote, against kube-proxy"],
  "overlay",
  { series: "rr", contenders: NODE_PORTS, load: rr },
  { series: "crr", contenders: NODE_PORTS, load: crr },
  // A table takes seconds to fill and to empty.
  { series: "full", contenders: FULL, load: crr, share: 1 / 4 },
);

export const world = between(
  ["world", "a pod and a machine outside, against kube-proxy and the bridge plugin's masquerade"],
  "overlay",
  { series: "rr", contenders: WORLD, load: rr },
  { series: "crr", contenders: WORLD, load: crr },
);

export const nodePortUdp = between(
  [
    "nodeport-udp",
    "packets a second of small UDP to a NodePort, against kube-proxy and its nft form",
  ],
  "overlay",
  { series: "flood", contenders: NODE_PORTS, load: flood },
);
