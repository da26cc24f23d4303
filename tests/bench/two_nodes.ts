/**
 * The testbed of two nodes for the developers' bars: the contenders of `pcnk bench`, pcnk with its table of sessions full, and
 * plain VXLAN without bridge netfilter, and both kinds of masquerade; a pod each, and a machine outside.
 */
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { placeOf } from "../../src/lab/connectivity.ts";
import { SERVICE_PORT } from "../../src/lab/manifests.ts";
import { type RoutingMode, SERVER_PORT } from "../../src/lab/plan.ts";
import { allOf } from "../../src/measure/carriers.ts";
import { CLUSTER_CIDR, twoNodes as upTwoNodes } from "../../src/measure/lab_testbed.ts";
import type { Placement } from "../../src/measure/placement.ts";
import { runIn, type Variant } from "../../src/measure/variants.ts";
import { CPU, startServer, type Target } from "./load.ts";
import type { Context } from "./measure.ts";
import { kubeProxyRulesOf } from "./peer_rules.ts";
import { labName, type Stage } from "./stage.ts";
import { pcnk } from "./subject.ts";
import { bareVariant, fullOf } from "./variants.ts";

/**
 * `pcnk-full`: its table of sessions is full of ended ones; of all others each turn begins with no flow known. `vxlan`: as
 * flannel does it, no services; `vxlan-bare`: without bridge netfilter, which kube-proxy needs. The peers' rules come on top of
 * `vxlan`. `masquerade`: kube-proxy and a rule as of the bridge plugin's ipMasq; `pcnk-drop`: the policy of FORWARD is DROP.
 */
export type Carrier =
  | "pcnk"
  | "pcnk-full"
  | "pcnk-drop"
  | "vxlan"
  | "vxlan-bare"
  | "kube-proxy"
  | "masquerade"
  | "nft";

/** Names of the lab's, by what has a client. */
const CLIENTS = { pod: "pod1-1", node: "node1", outside: "outside" } as const;
export type From = keyof typeof CLIENTS;

/**
 * Where a client connects to; behind each of them is the same server in the second node's pod. `nodeport-remote`: a NodePort at
 * the first node; `nodeport-local`: the same one at the second node, where the backend is. `world`: a server outside.
 */
export type To = "pod" | "service" | "nodeport-remote" | "nodeport-local" | "world";

const SERVER = "pod2-1";
/** Beside the lab's own server there. */
const WORLD_PORT = SERVER_PORT + 1;

export interface TwoNodes {
  client(from: From): Placement;
  target(to: To): Target;
  server: Placement;
  /** Puts this contender on, and the one before off. */
  carry(by: Carrier): void;
  /** Packets that pcnk's programs on both nodes have counted so far. */
  counted(): bigint;
  /** Replaces the server. */
  serve(mode: "serve" | "sink"): Promise<void>;
  /** Why the peer's rules are not its own. */
  note?: string | undefined;
}

/** Docker's policy. */
function dropVariant(netns: string): Variant {
  return {
    on: () => runIn(netns, ["iptables", "-P", "FORWARD", "DROP"]),
    off: () => runIn(netns, ["nft", "delete", "table", "ip", "filter"]), // an empty chain costs, too
  };
}

function masqueradeVariant(netns: string): Variant {
  const rule = ["POSTROUTING", "-s", CLUSTER_CIDR, "!", "-d", CLUSTER_CIDR, "-j", "MASQUERADE"];
  return {
    on: () => runIn(netns, ["iptables", "-t", "nat", "-A", ...rule]),
    off: () => runIn(netns, ["iptables", "-t", "nat", "-D", ...rule]),
  };
}

/** @param carriers those that will be asked for; the others are not prepared */
export async function twoNodes(
  stage: Stage,
  { attach, signal }: Pick<Context, "attach" | "signal">,
  routing: RoutingMode,
  carriers: readonly Carrier[],
): Promise<TwoNodes> {
  let note: string | undefined;
  const { lab, services, toggle, variants } = await upTwoNodes(
    stage,
    { name: labName(), pods: 1, attach, routing, command: [pcnk()], signal },
    async (services) => {
      if (!carriers.some((by) => by === "kube-proxy" || by === "masquerade")) return "";
      const rules = await kubeProxyRulesOf(stage, services);
      note = rules.note;
      if (note) console.error(note);
      return rules.text;
    },
  );
  const { store } = lab;
  const { nodes } = store.plan;
  const bare = nodes.map(({ netnsPath }) => bareVariant({ node: netnsPath }));
  const all = {
    pcnk: variants.pcnk,
    "pcnk-drop": allOf([variants.pcnk, ...nodes.map(({ netnsPath }) => dropVariant(netnsPath))]),
    "pcnk-full": fullOf(stage, store, variants.pcnk),
    vxlan: variants.plain,
    "vxlan-bare": allOf([variants.plain, ...bare]),
    "kube-proxy": variants["kube-proxy iptables"],
    masquerade: allOf([
      variants["kube-proxy iptables"],
      ...nodes.map(({ netnsPath }) => masqueradeVariant(netnsPath)),
    ]),
    nft: variants.nft,
  };
  const service = (name: string) => services.find((each) => each.name === name)!;
  const { nodePort } = service(`echo-${nodes[1]!.name}`);
  const targets: Record<To, Target> = {
    pod: { addr: lab.pod(SERVER).address, port: SERVER_PORT },
    service: { addr: service(`self-${SERVER}`).address, port: SERVICE_PORT },
    "nodeport-remote": { addr: nodes[0]!.address, port: nodePort! },
    "nodeport-local": { addr: nodes[1]!.address, port: nodePort! },
    world: { addr: store.plan.outside.address, port: WORLD_PORT },
  };
  const planes = nodes.map(({ bpffs }) => stage.use(openDataPlane(bpffs)));
  const pinned = (name: string) => ({ ...placeOf(store, name), cpu: CPU });
  const running: AsyncDisposable[] = [];
  const end = async () => {
    for (const server of running.splice(0)) await server[Symbol.asyncDispose]();
  };
  stage.defer(end);
  return {
    client: (from) => pinned(CLIENTS[from]),
    target: (to) => targets[to],
    server: pinned(SERVER),
    carry: (by) => toggle.to(all[by]),
    counted: () =>
      planes.flatMap(({ maps }) => maps.counters.entries().flatMap(([, cpus]) => cpus))
        .reduce((sum, { packets }) => sum + packets, 0n),
    async serve(mode) {
      await end();
      running.push(await startServer(pinned(SERVER), SERVER_PORT, mode, signal));
      if (mode === "serve") {
        running.push(await startServer(pinned(CLIENTS.outside), WORLD_PORT, mode, signal));
      }
    },
    note,
  };
}
