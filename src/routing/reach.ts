/** Chooses the path to a peer: VPC, direct route or overlay, with the reason. Pure. */
import { Prefix } from "../net/prefix.ts";
import type { CheckedNode } from "./nodes.ts";
import type { RoutingInput, RoutingSettings, Uplink } from "./types.ts";

/** How to reach a peer. */
export type Way =
  & { reason: string }
  & (
    | { mode: "direct" | "vpc"; nextHop: string; ifindex: number }
    /** `only`: the peer takes that way too, as far as both follow from the same objects and settings. */
    | { mode: "overlay"; farEnd: string; only: boolean }
  );

/** A network of an uplink. */
interface Subnet {
  prefix: Prefix;
  ifindex: number;
}

interface Around extends Pick<RoutingInput, "vpcRoutes"> {
  subnets: readonly Subnet[];
}

export function subnetsOf({ ifindex, addresses }: Uplink): Subnet[] {
  return addresses.map(({ address, prefixLength }) => ({
    prefix: new Prefix(address, prefixLength),
    ifindex,
  }));
}

/** The VPC if it has a route to the peer, else a direct route if both nodes ask for it, else the overlay. */
export function chooseWay(
  own: CheckedNode,
  peer: CheckedNode,
  settings: RoutingSettings,
  around: Around,
): Way {
  const vpc = throughVpc(own, peer, around);
  if (typeof vpc === "object") return vpc;
  const way = directOrOverlay(own, peer, settings, around.subnets);
  if (vpc === undefined) return way;
  way.reason = `${vpc}; ${way.reason}`;
  if (way.mode === "overlay") way.only = false; // the peer's table may have a route to this node
  return way;
}

/**
 * The path through the VPC, or the reason against it; undefined: the nodes are not both in VPC mode. It needs a route in the
 * VPC's table: a peer whose agent may not create one, or whose subnet has another table, is reached through the overlay.
 * The router has the second address of every subnet (AWS: "subnet CIDR blocks", reserved addresses).
 */
function throughVpc(
  own: CheckedNode,
  peer: CheckedNode,
  { subnets, vpcRoutes }: Around,
): Way | string | undefined {
  if (own.vpcMode === undefined || own.vpcMode !== peer.vpcMode) return undefined;
  if (!peer.podCIDRs.every(({ text }) => vpcRoutes?.has(text))) {
    return `the VPC has no route to the podCIDR of ${peer.name} (yet)`;
  }
  const shared = sharedSubnet(own, own, subnets);
  if (shared === undefined) return "no uplink has the InternalIP of this node";
  const { prefix, ifindex } = shared;
  return { mode: "vpc", nextHop: prefix.at(1), ifindex, reason: "the VPC routes to both nodes" };
}

function directOrOverlay(
  own: CheckedNode,
  peer: CheckedNode,
  settings: RoutingSettings,
  subnets: readonly Subnet[],
): Way {
  const asks = (node: CheckedNode) => node.directRouting ?? settings.routing === "direct";
  // Behind one NAT the public address mostly cannot be reached from within, and the InternalIP can.
  const sameSite = peer.publicIP === own.publicIP;
  const farEnd = sameSite ? peer.address : peer.publicIP ?? peer.address;
  const overlay = (reason: string, only = true): Way => ({ mode: "overlay", farEnd, reason, only });
  if (!asks(own)) return overlay("this node does not ask for direct routing");
  if (!asks(peer)) return overlay(`${peer.name} does not ask for direct routing`);
  if (own.publicIP !== undefined && peer.publicIP !== undefined && !sameSite) {
    return overlay("the nodes are behind different public addresses");
  }
  const shared = sharedSubnet(own, peer, subnets);
  if (shared === undefined) return overlay("the nodes share no subnet", false);
  const { prefix, ifindex } = shared;
  const reason = `both are on ${prefix.text} and ask for direct routing`;
  return { mode: "direct", nextHop: peer.address, ifindex, reason };
}

/** The subnet of an uplink that holds both nodes' addresses, so that both ends decide alike. */
function sharedSubnet(own: CheckedNode, peer: CheckedNode, subnets: readonly Subnet[]) {
  return subnets.find(({ prefix }) =>
    prefix.contains(own.address) && prefix.contains(peer.address)
  );
}
