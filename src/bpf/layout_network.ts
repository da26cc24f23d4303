/**
 * The part of the layout that is about the network around the pods: other nodes, uplinks, what is masqueraded. Mirrors
 * bpf/lib/types.h and bpf/lib/maps.h, as layout.ts does for the rest, which brings both parts together.
 */
import { ipv4, mac, pad, struct, type StructCodec, u16, u32, u8, type ValueOf } from "./codec.ts";
import { map } from "./descriptor.ts";
import { MAP_TYPE } from "./syscall.ts";

/** enum remote_mode: how packets get to the pods of another node. ROUTED: as the node's own routes say. */
export const REMOTE_MODE = { ROUTED: 0, OVERLAY: 1, DIRECT: 2 } as const;
/** enum node_addr_flags */
export const NODE_ADDR_FLAG = { LOCAL: 1 } as const;

/** A prefix of addresses, key of a longest-prefix map: a look-up finds the longest one that holds the address. */
export const cidrKey = struct("cidr_key", { prefixlen: u32, addr: ipv4 });
export type CidrKey = ValueOf<typeof cidrKey>;

/** How to reach the pods of another node; its podCIDR is the key. */
export const remote = struct("remote", {
  /** Overlay: the node at the tunnel's far end. Direct: the next hop. */
  via: ipv4,
  /** The overlay's device, or the uplink. 0: as the node's routes say. */
  ifindex: u32,
  /** Overlay: VXLAN network identifier. */
  vni: u32,
  /** Bytes of the packets that may go this way; 0: any. */
  mtu: u16,
  /** REMOTE_MODE */
  mode: u8,
  reserved: pad(u8),
  /** Overlay: of the far end's device. */
  mac,
  reserved2: pad(u16),
});
export type Remote = ValueOf<typeof remote>;

/** A device to the other nodes and the world. */
export const uplinkKey = struct("uplink_key", { ifindex: u32 });
export type UplinkKey = ValueOf<typeof uplinkKey>;

/** What programs know of an uplink. */
export const uplink = struct("uplink", {
  /** What pods are masqueraded as; "0.0.0.0": unknown. */
  addr: ipv4,
  /** Bytes. */
  mtu: u32,
});
export type Uplink = ValueOf<typeof uplink>;

/** An address of a node, at which NodePorts answer. */
export const nodeAddrKey = struct("node_addr_key", { addr: ipv4 });
export type NodeAddrKey = ValueOf<typeof nodeAddrKey>;

/** Whose address it is. */
export const nodeAddr = struct("node_addr", {
  /** NODE_ADDR_FLAG */
  flags: u32,
});
export type NodeAddr = ValueOf<typeof nodeAddr>;

/** An address that the tunnels of another node come from. */
export const vtepKey = struct("vtep_key", { addr: ipv4 });
export type VtepKey = ValueOf<typeof vtepKey>;

/** Some of the clients of a service with SERVICE_FLAG.SOURCE_RANGES. */
export const sourceRangeKey = struct("source_range_key", {
  /** 32, for the service's id, and the length of the prefix. */
  prefixlen: u32,
  service_id: u32,
  addr: ipv4,
});
export type SourceRangeKey = ValueOf<typeof sourceRangeKey>;

/** The maps, by their names in C. */
export const networkMaps = {
  remotes: map("remotes", MAP_TYPE.LPM_TRIE, cidrKey, remote),
  uplinks: map("uplinks", MAP_TYPE.HASH, uplinkKey, uplink),
  node_addrs: map("node_addrs", MAP_TYPE.HASH, nodeAddrKey, nodeAddr),
  /** Write 0. */
  vteps: map("vteps", MAP_TYPE.HASH, vtepKey, u32),
  /** Where pods' packets go with the pod's own address; write 0. */
  no_masquerade: map("no_masquerade", MAP_TYPE.LPM_TRIE, cidrKey, u32),
  /** Write 0. */
  source_ranges: map("source_ranges", MAP_TYPE.LPM_TRIE, sourceRangeKey, u32),
} as const;

/** Structs for the comparison with BTF. */
export const networkStructs: readonly StructCodec<unknown>[] = [
  cidrKey,
  remote,
  uplinkKey,
  uplink,
  nodeAddrKey,
  nodeAddr,
  vtepKey,
  sourceRangeKey,
] as readonly StructCodec<unknown>[];
