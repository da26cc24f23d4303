/** The words of routing: what goes into a plan and what comes out. Plain data; addresses are dotted quads. */
import type { Node } from "../model/objects.ts";

/** How packets reach the pods of another node. */
export type RoutingMode = "overlay" | "direct";

/** What routing looks at in a Node. */
export interface RoutingNode extends Pick<Node, "name" | "internalIPs" | "podCIDRs"> {
  /** Annotation `pcnk.io/public-ip`, as it was written: the tunnel's far end when the node is behind NAT. */
  publicIP?: string;
  /** Annotation `pcnk.io/direct-routing`; undefined: as the settings say. */
  directRouting?: boolean;
  /** Annotation `pcnk.io/vpc-mode`; undefined: off. */
  vpcMode?: "aws";
  /** Milliseconds since the epoch; undefined for a manifest. The older of two Nodes keeps a disputed podCIDR. */
  createdAt?: number;
}

/** The agent's settings that concern routing. */
export interface RoutingSettings {
  /** The wish of every node whose Node object has none of its own. */
  routing: RoutingMode;
  overlay: {
    /** Name of the VXLAN device. */
    device: string;
    /** VXLAN network identifier, 1 to 16777215. */
    vni: number;
    /** UDP port, 1 to 65535. */
    port: number;
    /** False: checksums of what goes into the tunnel are computed in software, for NICs that get them wrong. */
    checksumOffload: boolean;
  };
  /** Bytes a pod's packet may have; undefined: what the uplinks carry less 50 for the tunnel. */
  mtu?: number;
}

/** A device to the other nodes. */
export interface Uplink {
  ifindex: number;
  name: string;
  /** Bytes. */
  mtu: number;
  addresses: { address: string; prefixLength: number }[];
}

/** All that a plan is made from. */
export interface RoutingInput {
  /** Name of this node. */
  own: string;
  /** All nodes of the cluster, this one too. */
  nodes: Iterable<RoutingNode>;
  settings: RoutingSettings;
  uplinks: readonly Uplink[];
  /** podCIDRs that the cloud's network leads to their nodes, from here; undefined: none. */
  vpcRoutes?: ReadonlySet<string>;
}

/** Something wrong with the cluster's data, or with what stands in the way on this node. */
export interface Problem {
  code: ProblemCode;
  /** Node it is about. */
  node: string;
  message: string;
}

export type ProblemCode =
  /** There is no Node object for this node yet: nothing is changed. */
  | "own-node-missing"
  | "no-address"
  | "no-pod-cidr"
  | "bad-pod-cidr"
  | "pod-cidr-taken"
  | "pod-cidr-holds-node"
  | "pod-cidr-in-uplink"
  | "own-address-taken"
  | "address-twice"
  | "bad-public-ip"
  | "public-ip-twice"
  | "no-uplink"
  | "mtu-too-big"
  | "route-taken"
  | "device-taken";

/** Device of the overlay as it should be. */
export interface OverlayDevice {
  name: string;
  /** UDP port. */
  port: number;
  mac: string;
  /** Bytes. */
  mtu: number;
  /** The address, a /32, from which this node itself talks to pods of others; undefined without a podCIDR. */
  address?: string;
  checksumOffload: boolean;
}

/** A route as it should be. All of them carry ROUTE_PROTOCOL. */
export type PlannedRoute =
  | {
    type: "overlay";
    destination: string;
    gateway: string;
    encap: { id: number; destination: string };
  }
  | { type: "direct"; destination: string; gateway: string; ifindex: number }
  | { type: "unreachable"; destination: string };

/** A neighbour of the overlay device, permanent. */
export interface PlannedNeighbour {
  address: string;
  mac: string;
}

/** An entry of the data plane's map `remotes`: whom a pod's packet is sent to. */
export interface Remote {
  /** podCIDR of another node. */
  prefix: string;
  mode: RoutingMode;
  /** Overlay: the tunnel's far end. Direct: the next hop. */
  nodeAddr: string;
  /** Overlay: of the far end's device. Direct: zeros. */
  mac: string;
}

/** How one other node is reached, and why so. */
export interface Peer {
  node: string;
  /** vpc: a direct route to the cloud's router. */
  mode: RoutingMode | "vpc";
  reason: string;
  nodeAddr: string;
  podCIDRs: string[];
}

/** A kernel parameter as it should be. */
export interface SysctlWish {
  /** With slashes: `net/ipv4/conf/eth0/rp_filter`. */
  name: string;
  value: string;
  /** "strict": only when reverse path filtering is strict here, from `conf/all` or from itself. */
  when: "differs" | "strict";
  why: string;
}

/** What the kernel should hold. */
export interface RoutingPlan {
  /** False: this node is unknown; what the kernel holds stays as it is. */
  usable: boolean;
  /** VXLAN network identifier, for the data plane's configuration. */
  vni: number;
  /** Bytes a pod's packet may have. */
  mtu: number;
  /** Undefined: no overlay device is wanted. */
  device?: OverlayDevice;
  routes: PlannedRoute[];
  neighbours: PlannedNeighbour[];
  remotes: Remote[];
  /** Packets of all pods that are behind the overlay come by it alone: no node of theirs may choose another way. */
  tunnelled: boolean;
  sysctls: SysctlWish[];
  peers: Peer[];
  problems: Problem[];
}
