/** The one entry of the map `config`: what the programs read of settings and of this node. */
import { zero } from "../../bpf/codec.ts";
import { NODE_FLAG, type NodeConfig, nodeConfig, type SessionLimits } from "../../bpf/layout.ts";
import type { AgentConfig } from "../../config/schema.ts";
import { formatIpv4 } from "../../net/ipv4.ts";
import { parseNetwork } from "../../net/prefix.ts";
import type { RoutingPlan } from "../../routing/types.ts";
import { flowCapacity } from "../maps/sizes.ts";
import type { NodeDevices } from "./uplinks.ts";
import { MAGLEV_SIZE } from "../../services/maglev.ts";

/** Facts of the node, beside its settings. */
interface NodeFacts {
  /** The node's own address, dotted. */
  address?: string;
  /** Of its pods, e.g. `10.244.1.0/24`. */
  podCIDR?: string;
  /** The pods' bridge. Default: none. */
  bridge?: NodeDevices["bridge"];
  plan: Pick<RoutingPlan, "vni" | "device" | "mtu">;
  /** Pods behind the overlay send by it alone, and have for a while. Default: no. */
  tunnelled?: boolean;
}

type Settings = Pick<
  AgentConfig,
  | "timeouts"
  | "masquerade"
  | "podEgress"
  | "sourceCheck"
  | "uplinkCheck"
  | "nonMasqueradeCIDRs"
  | "podMulticast"
  | "snatPorts"
  | "overlay"
>;

export function nodeConfigOf(
  settings: Settings,
  { address, podCIDR, bridge = { index: 0, mtu: 0 }, plan, tunnelled = false }: NodeFacts,
): NodeConfig {
  const { timeouts, masquerade, podEgress, sourceCheck, podMulticast, snatPorts } = settings;
  const hidden = masquerade && settings.nonMasqueradeCIDRs.length === 0;
  const nanoseconds = (seconds: number) => BigInt(Math.round(seconds * 1e9));
  return {
    ...zero(nodeConfig),
    tcp_new_timeout: nanoseconds(timeouts.tcpNew),
    tcp_established_timeout: nanoseconds(timeouts.tcpEstablished),
    tcp_closing_timeout: nanoseconds(timeouts.tcpClosing),
    tcp_closed_timeout: nanoseconds(timeouts.tcpClosed),
    udp_timeout: nanoseconds(timeouts.udp),
    icmp_timeout: nanoseconds(timeouts.icmp),
    flags: NODE_FLAG.KNOWN_VTEPS | (masquerade ? NODE_FLAG.MASQUERADE : 0) |
      (podEgress === "stack" ? NODE_FLAG.EGRESS_STACK : 0) |
      (sourceCheck === "off" ? 0 : NODE_FLAG.SOURCE_CHECK) |
      (podMulticast === "on" ? NODE_FLAG.POD_MULTICAST : 0) |
      (settings.uplinkCheck === "off"
        ? 0
        : NODE_FLAG.UPLINK_CHECK | (tunnelled ? NODE_FLAG.TUNNELLED : 0) |
          (hidden ? NODE_FLAG.PODS_HIDDEN : 0)),
    node_addr: address ?? "0.0.0.0",
    ...podNetwork(podCIDR),
    snat_first: snatPorts.first,
    snat_last: snatPorts.last,
    overlay_vni: plan.device === undefined ? 0 : plan.vni,
    overlay_port: plan.device?.port ?? 0,
    maglev_size: MAGLEV_SIZE,
    pods_ifindex: bridge.index,
    // By the bridge's the stack fragments: pods that were made before an uplink with a smaller MTU came have a larger one.
    pods_mtu: bridge.mtu || plan.mtu,
  };
}

/** The one entry of the map `session_limits`: what one client may have. */
export function sessionLimitsOf(
  { shares, mapSizes }: Pick<AgentConfig, "shares" | "mapSizes">,
): Omit<SessionLimits, "assured"> {
  const capacity = flowCapacity(mapSizes.sessions);
  return {
    capacity,
    flows: Math.max(1, Math.floor(capacity * shares.sessions / 100)),
    ports: Math.max(1, Math.round(256 * shares.snatPorts / 100)),
  };
}

/** The bridge plugin takes the first host address of the podCIDR as the gateway: replies to it come back to this node. */
function podNetwork(
  podCIDR: string | undefined,
): Pick<NodeConfig, "pod_cidr" | "pod_mask" | "snat_addr"> {
  const { cidr, mask } = networkOf(podCIDR);
  const snat_addr = podCIDR === undefined ? "0.0.0.0" : parseNetwork(podCIDR, 4).at(1);
  return { pod_cidr: cidr, pod_mask: mask, snat_addr };
}

/** Address and mask of a network; both 0.0.0.0 without one. */
export function networkOf(text: string | undefined): { cidr: string; mask: string } {
  if (text === undefined) return { cidr: "0.0.0.0", mask: "0.0.0.0" };
  const { address, length } = parseNetwork(text, 4);
  return { cidr: address, mask: formatIpv4(length === 0 ? 0 : (-1 << (32 - length)) >>> 0) };
}
