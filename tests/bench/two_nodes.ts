/**
 * Two nodes of the laboratory with a pod each and a machine outside, made by real agents and the real plugin; and the ways
 * to carry their traffic that are compared: pcnk, plain VXLAN, and on top of that kube-proxy's rules or those of its nft mode.
 * What differs is switched; nodes, pods, wire and processes stay the same.
 */
import { availableParallelism } from "node:os";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { nodePlace } from "../../src/lab/agents.ts";
import { downLab } from "../../src/lab/down.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { type LabService, SERVICE_PORT } from "../../src/lab/manifests.ts";
import { outsidePlace } from "../../src/lab/outside.ts";
import { type RoutingMode, SERVER_PORT } from "../../src/lab/plan.ts";
import { podPlace } from "../../src/lab/pods.ts";
import type { Place as LabPlace } from "../../src/lab/spawn.ts";
import { upLab } from "../../src/lab/up.ts";
import { writeSysctl } from "../../src/linux/sysctl.ts";
import { flannelVariant } from "../../src/measure/flannel.ts";
import { allOf, fullOf, pcnkNodesVariant, rulesVariant } from "../../src/measure/carriers.ts";
import { type Place, type Server, startServer, type Target } from "./load.ts";
import type { Context } from "./measure.ts";
import { nftRules } from "../../src/measure/nft_rules.ts";
import { servicePorts } from "../../src/measure/lab_ports.ts";
import { kubeProxyRulesOf } from "./peer_rules.ts";
import { labName, type Stage } from "./stage.ts";
import { pcnk } from "./subject.ts";
import { tuneForManyConnections } from "../../src/measure/tune.ts";
import { CLUSTER_CIDR } from "./topology.ts";
import { bareVariant, BRIDGE_NETFILTER, Switch, type Variant } from "../../src/measure/variants.ts";

/** Client, server and all that is between them; see traffic.ts. */
const CPU = availableParallelism() - 1;

const SERVICE_CIDR = "10.96.0.0/16";

const CLIENT_POD = "pod1-1", SERVER_POD = "pod2-1";

/**
 * `pcnk-full`: its table of sessions is full of ended ones; of all others each turn begins with no flow known. `vxlan`: as
 * flannel does it, no services; `vxlan-bare`: without bridge netfilter, which kube-proxy needs. The peers' rules come on top of
 * `vxlan`.
 */
export type Carrier = "pcnk" | "pcnk-full" | "vxlan" | "vxlan-bare" | "kube-proxy" | "nft";

/** What has a client: a pod of the first node, the first node itself, the machine outside. */
export type From = "pod" | "node" | "outside";

/** Where a client connects to; behind each of them is the same server in the second node's pod, but behind `near`. */
export type To =
  | "pod"
  | "service"
  /** A NodePort at the first node: the backend is on the other. */
  | "nodeport-remote"
  /** The same one at the second node: the backend is there. */
  | "nodeport-local";

export interface TwoNodes {
  place(from: From): Place;
  target(to: To): Target;
  /** Puts this way on, and the one before off. */
  carry(by: Carrier): void;
  /** Packets that pcnk's programs on both nodes have counted so far. */
  counted(): bigint;
  /** Replaces the server; the one at the start echoes. */
  serve(mode: "serve" | "sink"): Promise<Server>;
  /** Why the peer's rules are not its own. */
  note?: string;
}

/** Makes it all. `carriers`: those that will be asked for; the others are not prepared. */
export async function upTwoNodes(
  stage: Stage,
  { attach, signal }: Context,
  routing: RoutingMode,
  carriers: readonly Carrier[],
): Promise<TwoNodes> {
  const name = labName();
  stage.defer(async () => void await downLab(name));
  const lab = await upLab({ name, nodes: 2, pods: 1, attach, routing, command: [pcnk()], signal });
  const services = lab.services(); // now, while all servers run
  const rules = carriers.includes("kube-proxy")
    ? await kubeProxyRulesOf(stage, services)
    : undefined;
  if (rules?.note) console.error(rules.note);
  for (const { name } of lab.store.plan.nodes) await lab.stopAgent(name);
  await lab.stopServer(SERVER_POD);
  tune(lab);
  const variants = makeVariants(stage, lab, services, rules?.text);
  const toggle = new Switch();
  stage.defer(() => toggle.to(undefined));
  variants.pcnk.off();
  return {
    place: (from) => placeOf(lab, from),
    target: (to) => targetOf(lab, services, to),
    carry: (by) => toggle.to(variants[by]),
    counted: counter(stage, lab),
    serve: serverOf(stage, lab),
    ...(rules?.note === undefined ? {} : { note: rules.note }),
  };
}

function makeVariants(
  stage: Stage,
  { store }: LabHandle,
  services: readonly LabService[],
  iptables = "",
): Record<Carrier, Variant> {
  const { nodes } = store.plan;
  const vxlan = flannelVariant(stage, nodes);
  const nft = nftRules(servicePorts(services), {
    clusterCIDR: CLUSTER_CIDR,
    serviceCIDR: SERVICE_CIDR,
    nodeAddresses: nodes.map(({ address }) => address),
  });
  const pcnk = pcnkNodesVariant(stage, store);
  return {
    pcnk,
    "pcnk-full": fullOf(stage, store, pcnk),
    vxlan,
    "vxlan-bare": allOf([vxlan, ...nodes.map(({ netnsPath }) => bareVariant({ node: netnsPath }))]),
    "kube-proxy": allOf([vxlan, rulesVariant(nodes, ["iptables-restore"], iptables)]),
    nft: allOf([vxlan, rulesVariant(nodes, ["nft", "-f", "-"], nft)]),
  };
}

function targetOf(lab: LabHandle, services: readonly LabService[], to: To): Target {
  const [first, second] = lab.store.plan.nodes;
  const service = (name: string) => services.find((each) => each.name === name)!;
  const port = service(`echo-${second!.name}`).nodePort!;
  switch (to) {
    case "pod":
      return { addr: lab.pod(SERVER_POD).address, port: SERVER_PORT };
    case "service":
      return { addr: service(`self-${SERVER_POD}`).address, port: SERVICE_PORT };
    case "nodeport-remote":
      return { addr: first!.address, port };
    case "nodeport-local":
      return { addr: second!.address, port };
  }
}

function placeOf({ store }: LabHandle, from: From): Place {
  const [first] = store.plan.nodes;
  if (from === "outside") return pinned(outsidePlace(store));
  if (from === "node") return pinned(nodePlace(store, first!));
  return pinned(podPlace(store, { name: CLIENT_POD, node: first!.name }));
}

function pinned({ netnsPath, cgroup }: LabPlace): Place {
  return { netns: netnsPath, cpu: CPU, ...(cgroup === null ? {} : { cgroup }) };
}

/** The wire is a bridge here: it is not to cost what no wire costs. */
function tune({ store, pods }: LabHandle): void {
  const { fabric, nodes } = store.plan;
  writeSysctl(BRIDGE_NETFILTER, "0", fabric.netnsPath);
  const clients = [
    ...nodes.map(({ netnsPath }) => netnsPath),
    ...pods.map((pod) => podPlace(store, pod).netnsPath),
    outsidePlace(store).netnsPath,
  ];
  clients.forEach(tuneForManyConnections);
}

function counter(stage: Stage, { store }: LabHandle): () => bigint {
  const planes = store.plan.nodes.map(({ bpffs }) => openDataPlane(bpffs));
  for (const plane of planes) stage.defer(() => plane.close());
  return () => {
    const all = planes.flatMap(({ maps }) => maps.counters.entries().flatMap(([, cpus]) => cpus));
    return all.reduce((sum, { packets }) => sum + packets, 0n);
  };
}

function serverOf(stage: Stage, { store }: LabHandle): TwoNodes["serve"] {
  let running: Server | undefined;
  const stop = async () => {
    await running?.stop();
    running = undefined;
  };
  stage.defer(stop);
  const place = pinned(podPlace(store, { name: SERVER_POD, node: "node2" }));
  return async (mode) => {
    await stop();
    return running = await startServer(place, SERVER_PORT, mode);
  };
}
