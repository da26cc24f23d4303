/** The small maps that describe this node and the others to the programs. */
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { NODE_ADDR_FLAG, type Vtep } from "../../bpf/layout.ts";
import type { AgentConfig } from "../../config/schema.ts";
import type { RoutingNode, RoutingPlan, Uplink } from "../../routing/types.ts";
import { type TunnelSource, tunnelSources } from "../../routing/nodes.ts";
import { syncElement, syncMap } from "../maps/sync.ts";
import { networkOf, nodeConfigOf, sessionLimitsOf } from "./datapath_config.ts";
import { keyOf } from "./remotes.ts";
import { masqueradeAddress, type NodeDevices } from "./uplinks.ts";

type NodeMaps = Pick<
  DataPlaneMaps,
  "config" | "session_limits" | "node_addrs" | "vteps" | "no_masquerade" | "uplinks"
>;

/** What the maps are made from. */
export interface NodeKnowledge {
  config: AgentConfig;
  /** All nodes of the cluster. */
  nodes: readonly RoutingNode[];
  uplinks: readonly Uplink[];
  /** This node's addresses. */
  addresses: readonly string[];
  bridge: NodeDevices["bridge"];
  plan: RoutingPlan;
  /** When `plan.tunnelled` may be relied on, in milliseconds of performance.now(). */
  tunnelledAt: number;
}

/** Brings the maps up to date; returns the addresses that pods are masqueraded as. */
export function syncNodeMaps(maps: NodeMaps, knowledge: NodeKnowledge): Set<string> {
  const { config, nodes } = knowledge;
  const vteps = tunnelSources(nodes, config.nodeName);
  // Before `config`, whose flag KNOWN_VTEPS makes it count.
  syncMap(maps.vteps, [...vteps].map(([addr, source]) => [{ addr }, vtepOf(source)] as const));
  const masqueraded = syncOwnMaps(maps, knowledge);
  syncMap(maps.node_addrs, nodeAddresses(knowledge, ownNode(knowledge)?.internalIPs ?? []));
  const podCIDRs = nodes.flatMap((node) => node.podCIDRs);
  const inside = new Set([...podCIDRs, ...config.nonMasqueradeCIDRs]);
  syncMap(maps.no_masquerade, [...inside].map((prefix) => [keyOf(prefix), 0] as const));
  return masqueraded;
}

/** What comes of the maps that grow with the cluster, without `remotes`, which is routing's. */
export function nodeMapsFingerprint({ vteps, node_addrs, no_masquerade }: NodeMaps): string {
  return [vteps, node_addrs, no_masquerade].map((map) => map.fingerprint()).join();
}

/** The maps that do not grow with the cluster. */
export function syncOwnMaps(
  maps: Pick<NodeMaps, "config" | "session_limits" | "uplinks">,
  knowledge: NodeKnowledge,
): Set<string> {
  const { config, uplinks, bridge, plan } = knowledge;
  const tunnelled = plan.tunnelled && performance.now() >= knowledge.tunnelledAt;
  const { internalIPs = [], podCIDRs = [] } = ownNode(knowledge) ?? {};
  const known = uplinks.map((uplink) =>
    [
      { ifindex: uplink.ifindex },
      { addr: masqueradeAddress(uplink, internalIPs), mtu: uplink.mtu },
    ] as const
  );
  const address = internalIPs[0] ?? known[0]?.[1].addr;
  syncElement(
    maps.config,
    0,
    nodeConfigOf(config, { address, podCIDR: podCIDRs[0], bridge, plan, tunnelled }),
  );
  const assured = maps.session_limits.get(0)?.assured ?? 0; // which the programs count
  syncElement(maps.session_limits, 0, { ...sessionLimitsOf(config), assured });
  syncMap(maps.uplinks, known);
  return new Set(known.map(([, { addr }]) => addr));
}

function ownNode({ nodes, config }: NodeKnowledge): RoutingNode | undefined {
  return nodes.find(({ name }) => name === config.nodeName);
}

function vtepOf({ podCIDR, nodeAddr: node_addr }: TunnelSource): Vtep {
  const { cidr: pod_cidr, mask: pod_mask } = networkOf(podCIDR);
  return { pod_cidr, pod_mask, node_addr };
}

/** Where NodePorts are served: at every address of this node, as with kube-proxy, and for pods at those of other nodes. */
function nodeAddresses({ nodes, addresses }: NodeKnowledge, internalIPs: readonly string[]) {
  const { LOCAL } = NODE_ADDR_FLAG;
  const flags = new Map<string, number>();
  for (const node of nodes) node.internalIPs.forEach((addr) => flags.set(addr, 0));
  for (const addr of [...addresses, ...internalIPs]) flags.set(addr, LOCAL);
  return [...flags].map(([addr, flags]) => [{ addr }, { flags }] as const);
}
