/**
 * Two nodes of a laboratory with two pods each, made by real agents and the real plugin. Then the agents end, so that nothing
 * undoes what is switched: pcnk's programs, or plain bridge and VXLAN, or on top of that the rules of kube-proxy.
 */
import { openDataPlane } from "../bpf/dataplane.ts";
import { placeOf } from "../lab/connectivity.ts";
import { downLab } from "../lab/down.ts";
import type { LabHandle } from "../lab/lab.ts";
import { type LabService, SERVICE_PORT } from "../lab/manifests.ts";
import { SERVER_PORT } from "../lab/plan.ts";
import { upLab } from "../lab/up.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { writeSysctl } from "../linux/sysctl.ts";
import { allOf, pcnkNodesVariant, rulesVariant } from "./carriers.ts";
import { fillServices } from "./fill.ts";
import { flannelVariant } from "./flannel.ts";
import { kubeProxyRules, type ServicePort } from "./kubeproxy.ts";
import { servicePorts } from "./lab_ports.ts";
import { nftRules } from "./nft_rules.ts";
import { type Path, PATHS, type Side, type Site, type Target } from "./site.ts";
import { tuneForManyConnections } from "./tune.ts";
import {
  BRIDGE_NETFILTER,
  type Cleanup,
  iptablesMissing,
  runIn,
  Switch,
  type Variant,
} from "./variants.ts";

const CLUSTER_CIDR = "10.244.0.0/16", SERVICE_CIDR = "10.96.0.0/16";

/** Client and server of each path; `service` asks for the server's pod by its own service. */
const ENDS: Record<Path, { client: string; server: string; service?: true }> = {
  localhost: { client: "node1", server: "node1" },
  "pod→pod, one node": { client: "pod1-1", server: "pod1-2" },
  "pod→service, one node": { client: "pod1-1", server: "pod1-2", service: true },
  "node→node": { client: "node1", server: "node2" },
  "pod→pod, two nodes": { client: "pod1-1", server: "pod2-1" },
  "pod→service, two nodes": { client: "pod1-1", server: "pod2-1", service: true },
};

export interface LabSiteOptions {
  name: string;
  sides: readonly Side[];
  signal: AbortSignal;
  progress(text: string): void;
}

/** Makes the laboratory; it goes with `cleanup`. */
export async function labSite(cleanup: Cleanup, options: LabSiteOptions): Promise<Site> {
  const { name, signal, progress } = options;
  const missing = iptablesMissing();
  const sides = missing === undefined
    ? options.sides
    : options.sides.filter((side) => side === "pcnk" || side === "plain");
  progress("making two nodes");
  const lab = await upLab({ name, nodes: 2, pods: 2, attach: "clsact", signal });
  cleanup.defer(async () => void await downLab(name));
  const services = lab.services(); // now, while all servers run
  for (const { name } of lab.store.plan.nodes) await lab.stopAgent(name);
  for (const { name } of lab.pods) await lab.stopServer(name);
  tune(lab);
  const own = servicePorts(services);
  const variants = makeVariants(cleanup, lab, own);
  const toggle = new Switch();
  cleanup.defer(() => toggle.to(undefined));
  variants.pcnk.off();
  return {
    sides,
    paths: pathsOf,
    carry: (side) => toggle.to(variants[side]),
    client: (path) => placeOf(lab.store, ENDS[path].client),
    server: (path) => placeOf(lab.store, ENDS[path].server),
    port: () => SERVER_PORT,
    target: (path, port) => targetOf(lab, services, path, port),
    withMtu: (mtu, work) => withMtu(lab, mtu, work),
    withServices: (count, side, work) =>
      withServices({ lab, toggle, variants, own }, count, side, work),
    notes: [
      ...(missing === undefined ? [] : [`kube-proxy's rules are left out: ${missing}`]),
      "two nodes in network namespaces of one machine, joined by a virtual wire",
      "kube-proxy's rules are generated in the form of Kubernetes 1.31, iptables and nftables mode; between nodes they use a plain VXLAN, as flannel makes it",
    ],
  };
}

function pathsOf(side: Side): readonly Path[] {
  // Nothing of the network is on the way within a node's loopback: one side tells it all.
  if (side === "plain") return PATHS.filter((path) => !ENDS[path].service);
  return PATHS.filter((path) => path !== "localhost");
}

function targetOf(lab: LabHandle, services: readonly LabService[], path: Path, port: number) {
  const { server, service } = ENDS[path];
  if (path === "localhost") return { address: "127.0.0.1", port };
  if (path === "node→node") return { address: lab.node(server).address, port };
  if (!service) return { address: lab.pod(server).address, port };
  const { address } = services.find(({ name }) => name === `self-${server}`)!;
  return { address, port: SERVICE_PORT };
}

function makeVariants(
  cleanup: Cleanup,
  { store }: LabHandle,
  ports: readonly ServicePort[],
): Record<Side, Variant> {
  const { nodes } = store.plan;
  const vxlan = flannelVariant(cleanup, nodes);
  const rules = (command: string[], text: string) =>
    allOf([vxlan, rulesVariant(nodes, command, text)]);
  return {
    pcnk: pcnkNodesVariant(cleanup, store),
    plain: vxlan,
    "kube-proxy iptables": rules(["iptables-restore"], kubeProxyRules(ports, CLUSTER_CIDR)),
    nft: rules(["nft", "-f", "-"], nftOf(ports, nodes.map(({ address }) => address))),
  };
}

function nftOf(ports: readonly ServicePort[], nodeAddresses: string[]): string {
  return nftRules(ports, { clusterCIDR: CLUSTER_CIDR, serviceCIDR: SERVICE_CIDR, nodeAddresses });
}

/** The wire is a bridge here: it is not to cost what no wire costs. */
function tune({ store, pods }: LabHandle): void {
  const { fabric, nodes } = store.plan;
  writeSysctl(BRIDGE_NETFILTER, "0", fabric.netnsPath);
  const names = [...nodes, ...pods].map(({ name }) => name);
  for (const name of names) tuneForManyConnections(placeOf(store, name).netnsPath);
}

/** Room for a tunnel's headers on what carries other devices. */
const TUNNEL_BYTES = 50;

/** Devices of pods get `mtu`, those below them more. */
async function withMtu<T>(lab: LabHandle, mtu: number, work: () => Promise<T>): Promise<T> {
  const { store, pods } = lab;
  const { fabric, nodes } = store.plan;
  const below = [fabric.netnsPath, ...nodes.map(({ netnsPath }) => netnsPath)];
  const undo: (() => void)[] = [];
  const raise = (netns: string, bytes: (name: string) => number | undefined) => {
    using nl = RtNetlink.open(netns);
    for (const link of nl.links()) {
      const wanted = bytes(link.name);
      if (wanted === undefined || link.mtu === wanted) continue;
      const command = (value: number) =>
        runIn(netns, ["ip", "link", "set", "dev", link.name, "mtu", String(value)]);
      command(wanted);
      undo.push(() => command(link.mtu));
    }
  };
  try {
    const isPod = (name: string) => /^(veth|pcnk)/.test(name) || name.startsWith("flannel");
    for (const netns of below) {
      raise(netns, (name) => name === "lo" || isPod(name) ? undefined : mtu + TUNNEL_BYTES);
      raise(netns, (name) => isPod(name) ? mtu : undefined);
    }
    for (const { name } of pods) {
      raise(placeOf(store, name).netnsPath, (device) => device === "eth0" ? mtu : undefined);
    }
    return await work();
  } finally {
    for (const each of undo.reverse()) each();
  }
}

/** A cluster's service addresses beyond the laboratory's own. */
function servicesOf(count: number, address: string): ServicePort[] {
  return Array.from({ length: count }, (_, i) => ({
    addr: `10.96.${64 + (i >>> 8)}.${i & 255}`,
    port: SERVICE_PORT,
    backends: [{ addr: address, port: SERVER_PORT }],
  }));
}

/** Everything that `withServices` needs to know of the site. */
interface Filling {
  lab: LabHandle;
  toggle: Switch;
  variants: Record<Side, Variant>;
  /** What the maps hold otherwise. */
  own: readonly ServicePort[];
}

/** On the client's node so many services; the last one is asked for. */
async function withServices<T>(
  { lab, toggle, variants, own }: Filling,
  count: number,
  side: Side,
  work: (target: Target) => Promise<T>,
): Promise<T> {
  const node = lab.node("node1");
  const ports = servicesOf(count, lab.pod("pod1-2").address);
  const { addr: address, port } = ports.at(-1)!;
  toggle.to(undefined);
  if (side === "pcnk") {
    const plane = openDataPlane(node.bpffs);
    try {
      fillServices(plane, ports);
      toggle.to(variants.pcnk);
      return await work({ address, port });
    } finally {
      toggle.to(undefined);
      fillServices(plane, own);
      plane.close();
    }
  }
  const rules = side === "nft"
    ? rulesVariant([node], ["nft", "-f", "-"], nftOf(ports, [node.address]))
    : rulesVariant([node], ["iptables-restore"], kubeProxyRules(ports, CLUSTER_CIDR));
  try {
    rules.on();
    return await work({ address, port });
  } finally {
    rules.off();
  }
}
