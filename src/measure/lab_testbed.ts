/**
 * Two nodes of a laboratory, made by real agents and the real plugin. Then the agents end, so that nothing undoes what is
 * switched: pcnk's programs, or plain bridge and VXLAN, or on top of that the rules of kube-proxy.
 */
import { openDataPlane } from "../bpf/dataplane.ts";
import { placeOf } from "../lab/connectivity.ts";
import { downLab } from "../lab/down.ts";
import type { LabHandle } from "../lab/lab.ts";
import { type LabService, SERVICE_PORT } from "../lab/manifests.ts";
import { type LabOptions, SERVER_PORT } from "../lab/plan.ts";
import { upLab } from "../lab/up.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { writeSysctl } from "../linux/sysctl.ts";
import { allOf, pcnkNodesVariant, rulesVariant } from "./carriers.ts";
import { fillServices } from "./fill.ts";
import { flannelVariant } from "./flannel.ts";
import { kubeProxyRules, type ServicePort } from "./kubeproxy.ts";
import { nftRules } from "./nft_rules.ts";
import { type Contender, type Path, PATHS, type Target, type Testbed } from "./testbed.ts";
import {
  BRIDGE_NETFILTER,
  type Cleanup,
  iptablesMissing,
  runIn,
  Switch,
  tuneForManyConnections,
  type Variant,
} from "./variants.ts";

export const CLUSTER_CIDR = "10.244.0.0/16", SERVICE_CIDR = "10.96.0.0/16";

/** Client and server of each path; `service` asks for the server's pod by its own service. */
const ENDS: Record<Path, { client: string; server: string; service?: true }> = {
  localhost: { client: "node1", server: "node1" },
  "pod→pod, one node": { client: "pod1-1", server: "pod1-2" },
  "pod→service, one node": { client: "pod1-1", server: "pod1-2", service: true },
  "node→node": { client: "node1", server: "node2" },
  "pod→pod, two nodes": { client: "pod1-1", server: "pod2-1" },
  "pod→service, two nodes": { client: "pod1-1", server: "pod2-1", service: true },
};

/** Two nodes on which contenders take turns. */
interface TwoNodes {
  lab: LabHandle;
  services: LabService[];
  /** None is on at the start. */
  toggle: Switch;
  variants: Record<Contender, Variant>;
}

/** Makes the laboratory; it goes with `cleanup`. `iptables`: kube-proxy's rules for its services. */
export async function twoNodes(
  cleanup: Cleanup,
  options: Pick<LabOptions, "name" | "pods" | "attach"> & Parameters<typeof upLab>[0],
  iptables: (services: LabService[]) => string | Promise<string>,
): Promise<TwoNodes> {
  cleanup.defer(async () => void await downLab(options.name));
  const lab = await upLab({ ...options, nodes: 2 });
  const services = lab.services(); // now, while all servers run
  const rules = await iptables(services);
  const { plan } = lab.store;
  for (const { name } of plan.nodes) await lab.stopAgent(name);
  for (const { name } of lab.pods) await lab.stopServer(name);
  // The wire is a bridge here: it is not to cost what no wire costs.
  writeSysctl(BRIDGE_NETFILTER, "0", plan.fabric.netnsPath);
  for (const { name } of [...plan.nodes, ...lab.pods, plan.outside]) {
    tuneForManyConnections(placeOf(lab.store, name).netnsPath);
  }
  const variants = makeVariants(cleanup, lab, services, rules);
  const toggle = new Switch();
  cleanup.defer(() => toggle.to(undefined));
  variants.pcnk.off();
  return { lab, services, toggle, variants };
}

function makeVariants(
  cleanup: Cleanup,
  { store }: LabHandle,
  services: readonly LabService[],
  iptables: string,
): Record<Contender, Variant> {
  const { nodes } = store.plan;
  const plain = flannelVariant(cleanup, nodes);
  const nft = nftOf(servicePorts(services), nodes.map(({ address }) => address));
  return {
    pcnk: pcnkNodesVariant(cleanup, store),
    plain,
    "kube-proxy iptables": allOf([plain, rulesVariant(nodes, ["iptables-restore"], iptables)]),
    nft: allOf([plain, rulesVariant(nodes, ["nft", "-f", "-"], nft)]),
  };
}

/** Every port of the services that have backends. */
export function servicePorts(services: readonly LabService[]): ServicePort[] {
  return services.filter(({ backends }) => backends.length > 0).flatMap((service) =>
    (["tcp", "udp"] as const).map((protocol) => ({
      addr: service.address,
      port: SERVICE_PORT,
      protocol,
      backends: service.backends.map(({ address }) => ({ addr: address, port: SERVER_PORT })),
      nodePort: service.nodePort,
    }))
  );
}

/** The rules of kube-proxy's nftables mode in this cluster. */
export function nftOf(ports: readonly ServicePort[], nodeAddresses: string[]): string {
  return nftRules(ports, { clusterCIDR: CLUSTER_CIDR, serviceCIDR: SERVICE_CIDR, nodeAddresses });
}

interface LabTestbedOptions {
  name: string;
  contenders: readonly Contender[];
  signal: AbortSignal;
  progress(text: string): void;
}

/** The testbed of `pcnk bench`, with two pods a node. */
export async function labTestbed(cleanup: Cleanup, options: LabTestbedOptions): Promise<Testbed> {
  const { name, signal, progress } = options;
  const missing = iptablesMissing();
  const contenders = missing === undefined
    ? options.contenders
    : options.contenders.filter((each) => each === "pcnk" || each === "plain");
  progress("making two nodes");
  const nodes = await twoNodes(
    cleanup,
    { name, pods: 2, attach: "clsact", signal },
    (services) => kubeProxyRules(servicePorts(services), CLUSTER_CIDR),
  );
  const { lab, toggle, variants } = nodes;
  return {
    contenders,
    paths: pathsOf,
    carry: (contender) => toggle.to(variants[contender]),
    client: (path) => placeOf(lab.store, ENDS[path].client),
    server: (path) => placeOf(lab.store, ENDS[path].server),
    port: () => SERVER_PORT,
    target: (path, port) => targetOf(nodes, path, port),
    withMtu: (mtu, work) => withMtu(lab, mtu, work),
    withServices: (count, contender, work) => withServices(nodes, count, contender, work),
    notes: [
      ...(missing === undefined ? [] : [`kube-proxy's rules are left out: ${missing}`]),
      "two nodes in network namespaces of one machine, joined by a virtual wire",
      "kube-proxy's rules are generated in the form of Kubernetes 1.31, iptables and nftables mode; between nodes they use a plain VXLAN, as flannel makes it",
    ],
  };
}

function pathsOf(contender: Contender): readonly Path[] {
  // Nothing of the network is on the way within a node's loopback: one contender tells it all.
  if (contender === "plain") return PATHS.filter((path) => !ENDS[path].service);
  return PATHS.filter((path) => path !== "localhost");
}

function targetOf({ lab, services }: TwoNodes, path: Path, port: number): Target {
  const { server, service } = ENDS[path];
  if (path === "localhost") return { address: "127.0.0.1", port };
  if (path === "node→node") return { address: lab.node(server).address, port };
  if (!service) return { address: lab.pod(server).address, port };
  const { address } = services.find(({ name }) => name === `self-${server}`)!;
  return { address, port: SERVICE_PORT };
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

/** On the client's node so many services; the last one is asked for. */
async function withServices<T>(
  { lab, services, toggle, variants }: TwoNodes,
  count: number,
  contender: Contender,
  work: (target: Target) => Promise<T>,
): Promise<T> {
  const node = lab.node("node1");
  const ports = servicesOf(count, lab.pod("pod1-2").address);
  const { addr: address, port } = ports.at(-1)!;
  toggle.to(undefined);
  if (contender === "pcnk") {
    const plane = openDataPlane(node.bpffs);
    try {
      fillServices(plane, ports);
      toggle.to(variants.pcnk);
      return await work({ address, port });
    } finally {
      toggle.to(undefined);
      fillServices(plane, servicePorts(services));
      plane.close();
    }
  }
  const rules = contender === "nft"
    ? rulesVariant([node], ["nft", "-f", "-"], nftOf(ports, [node.address]))
    : rulesVariant([node], ["iptables-restore"], kubeProxyRules(ports, CLUSTER_CIDR));
  try {
    rules.on();
    return await work({ address, port });
  } finally {
    rules.off();
  }
}
