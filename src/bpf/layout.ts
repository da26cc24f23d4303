/**
 * The layout that programs and user space share: mirrors bpf/lib/types.h and bpf/lib/maps.h, members under their C
 * names. btf.ts compares the structs with the object's BTF whenever an object is loaded, so a difference is an error
 * that names the field. Addresses are dotted strings, ports plain numbers; both are in network byte order in the map.
 */
import {
  array,
  be16,
  ipv4,
  mac,
  pad,
  struct,
  type StructCodec,
  text,
  u16,
  u32,
  u64,
  u8,
  type ValueOf,
} from "./codec.ts";
import { map } from "./descriptor.ts";
import { CNI_CALLS, cniCall } from "./cni_calls.ts";
import { MONITOR_EVENTS, monitorMaps, monitorStructs } from "./layout_monitor.ts";
import { networkMaps, networkStructs } from "./layout_network.ts";
import { MAP_TYPE } from "./syscall.ts";

export type { MapDescriptor } from "./descriptor.ts";
export * from "./layout_network.ts";

/** enum service_scope: where clients of a frontend are. */
export const SCOPE = { CLUSTER: 0, EXTERNAL: 1 } as const;
/** enum service_flags */
export const SERVICE_FLAG = {
  ADDRESS: 1,
  SOURCE_RANGES: 2,
  /** Without a backend: dropped, not refused. */
  LOCAL_ONLY: 4,
  MAGLEV: 8,
} as const;
/** enum backend_flags */
export const BACKEND_FLAG = { TERMINATING: 1 } as const;
/** enum session_zone */
export const SESSION_ZONE = { SERVICE: 0, MASQUERADE: 1, CLAIM: 2 } as const;
/** enum session_state */
export const SESSION_STATE = { NEW: 0, ESTABLISHED: 1, CLOSING: 2, CLOSED: 3 } as const;
/** enum session_flags */
export const SESSION_FLAG = {
  FIN_FORWARD: 1,
  FIN_REPLY: 2,
  HAIRPIN: 4,
  REPLY: 8,
  /** The forward entry is in SESSION_ZONE.MASQUERADE, the reply's is not. */
  MASQUERADE: 16,
  SNAT: 32,
  CLIENT_FIRST: 64,
} as const;
/** enum node_flags */
export const NODE_FLAG = {
  MASQUERADE: 1,
  /** The overlay takes packets from `vteps` only. */
  KNOWN_VTEPS: 2,
} as const;
/** enum affinity_kind */
export const AFFINITY_KIND = { ADDRESS: 0, NETNS: 1 } as const;
/** MAGLEV_SLOTS: places of a Maglev table in an element of `maglev`. */
export const MAGLEV_SLOTS = 4;

/** A frontend's key. */
export const serviceKey = struct("service_key", {
  addr: ipv4,
  port: be16,
  /** IPPROTO_TCP 6, IPPROTO_UDP 17; 0 for the address entry. */
  proto: u8,
  /** SCOPE */
  scope: u8,
});
export type ServiceKey = ValueOf<typeof serviceKey>;

/** A frontend: which run of the `backends` array serves it. */
export const service = struct("service", {
  id: u32,
  first: u32,
  count: u32,
  total_weight: u32,
  /** Seconds. */
  affinity_seconds: u32,
  /** SERVICE_FLAG */
  flags: u16,
  /** With SERVICE_FLAG.MAGLEV: which of the tables in `maglev`. */
  table: u16,
});
export type Service = ValueOf<typeof service>;

/** An element of the `backends` array. */
export const backend = struct("backend", {
  addr: ipv4,
  port: be16,
  /** BACKEND_FLAG */
  flags: u8,
  reserved: pad(u8),
  weight_end: u32,
});
export type Backend = ValueOf<typeof backend>;

/** The 5-tuple of a flow as the packet carries it. */
export const sessionKey = struct("session_key", {
  src: ipv4,
  dst: ipv4,
  sport: be16,
  dport: be16,
  proto: u8,
  /** SESSION_ZONE */
  zone: u8,
  reserved: pad(u16),
});
export type SessionKey = ValueOf<typeof sessionKey>;

/** What the packet of a flow becomes. */
export const session = struct("session", {
  /** Nanoseconds of the monotonic clock. */
  last_seen: u64,
  src: ipv4,
  dst: ipv4,
  sport: be16,
  dport: be16,
  service_id: u32,
  /** SESSION_STATE */
  state: u8,
  /** SESSION_FLAG */
  flags: u8,
  reserved: pad(u16),
  /** The uplink that replies leave by; 0: none. */
  ifindex: u32,
  /** Nanoseconds of the monotonic clock, when the flow's first packet came; 0n: not known. */
  created: u64,
});
export type Session = ValueOf<typeof session>;

/** A pod's address. */
export const endpointKey = struct("endpoint_key", { addr: ipv4 });
export type EndpointKey = ValueOf<typeof endpointKey>;

/** A pod of this node. */
export const endpoint = struct("endpoint", {
  /** Host end of the pod's veth pair. */
  ifindex: u32,
  /** Of the pod's interface. */
  mac,
  reserved: pad(u16),
  /** "0.0.0.0": unknown. */
  gateway: ipv4,
});
export type Endpoint = ValueOf<typeof endpoint>;

/** A fragmented packet. */
export const fragmentKey = struct("fragment_key", {
  src: ipv4,
  dst: ipv4,
  id: be16,
  proto: u8,
  reserved: pad(u8),
});
export type FragmentKey = ValueOf<typeof fragmentKey>;

/** The ports that only its first fragment carries. */
export const fragment = struct("fragment", { sport: be16, dport: be16 });
export type Fragment = ValueOf<typeof fragment>;

/** Configuration that programs read live. Timeouts in nanoseconds. */
export const nodeConfig = struct("node_config", {
  tcp_new_timeout: u64,
  tcp_established_timeout: u64,
  tcp_closing_timeout: u64,
  tcp_closed_timeout: u64,
  udp_timeout: u64,
  icmp_timeout: u64,
  /** NODE_FLAG */
  flags: u32,
  /** "0.0.0.0": unknown. */
  node_addr: ipv4,
  /** The network address of this node's podCIDR, and its mask; both "0.0.0.0": unknown. */
  pod_cidr: ipv4,
  pod_mask: ipv4,
  /** This node's address on the pod network, for clients that it stands in for. */
  snat_addr: ipv4,
  /** Source ports for them and for masquerade, first to last; both 0: the programs' default. */
  snat_first: u16,
  snat_last: u16,
  /** The only VXLAN network identifier that is taken in; 0: any. */
  overlay_vni: u32,
  /** UDP port of the tunnel itself; 0: no overlay. */
  overlay_port: be16,
  /** Places of every Maglev table, a prime; 0: no tables. */
  maglev_size: u16,
});
export type NodeConfig = ValueOf<typeof nodeConfig>;

/** A configuration that says nothing: defaults, and no other nodes. */
export const emptyNodeConfig: NodeConfig = {
  tcp_new_timeout: 0n,
  tcp_established_timeout: 0n,
  tcp_closing_timeout: 0n,
  tcp_closed_timeout: 0n,
  udp_timeout: 0n,
  icmp_timeout: 0n,
  flags: 0,
  node_addr: "0.0.0.0",
  pod_cidr: "0.0.0.0",
  pod_mask: "0.0.0.0",
  snat_addr: "0.0.0.0",
  snat_first: 0,
  snat_last: 0,
  overlay_vni: 0,
  overlay_port: 0,
  maglev_size: 0,
};

/** Which client, of which service. */
export const affinityKey = struct("affinity_key", {
  /** By kind: the number that an IPv4 address is in memory, or the cookie of a network namespace. */
  client: u64,
  service_id: u32,
  /** AFFINITY_KIND */
  kind: u32,
});
export type AffinityKey = ValueOf<typeof affinityKey>;

/** Which backend it was given. */
export const affinity = struct("affinity", {
  /** Nanoseconds of the monotonic clock. */
  last_used: u64,
  addr: ipv4,
  port: be16,
  reserved: pad(u16),
  index: u32,
  reserved2: pad(u32),
});
export type Affinity = ValueOf<typeof affinity>;

/** Neighbouring places of a Maglev table: numbers of backends in the run. */
export const maglevSlots = struct("maglev_slots", { backend: array(u16, MAGLEV_SLOTS) });
export type MaglevSlots = ValueOf<typeof maglevSlots>;

/** enum name_kind */
export const NAME_KIND = { SERVICE_PORT: 1, NODE: 2 } as const;

/** What has a name in the cluster. */
export const nameKey = struct("name_key", {
  /** NAME_KIND */
  kind: u32,
  /** By kind: a service's id, or a node's address as a number in host order. */
  id: u32,
});
export type NameKey = ValueOf<typeof nameKey>;

/** Its name. */
export const name = struct("name", { text: text(256) });
export type Name = ValueOf<typeof name>;

/** What came by for one reason. */
export const counter = struct("counter", { packets: u64, bytes: u64 });
export type Counter = ValueOf<typeof counter>;

/** Every map of the node, by its name in C. */
export const maps = {
  services: map("services", MAP_TYPE.HASH, serviceKey, service),
  backends: map("backends", MAP_TYPE.ARRAY, u32, backend),
  sessions: map("sessions", MAP_TYPE.LRU_HASH, sessionKey, session),
  endpoints: map("endpoints", MAP_TYPE.HASH, endpointKey, endpoint),
  fragments: map("fragments", MAP_TYPE.LRU_HASH, fragmentKey, fragment),
  config: map("config", MAP_TYPE.ARRAY, u32, nodeConfig),
  affinity: map("affinity", MAP_TYPE.LRU_HASH, affinityKey, affinity),
  maglev: map("maglev", MAP_TYPE.ARRAY, u32, maglevSlots),
  ...networkMaps,
  ...monitorMaps,
  /** For people: what has only a number elsewhere. */
  names: map("names", MAP_TYPE.HASH, nameKey, name),
  counters: {
    name: "counters",
    type: MAP_TYPE.PERCPU_ARRAY,
    key: u32,
    value: counter,
    perCpu: true,
  },
} as const;

/** Name of a map. */
export type MapName = keyof typeof maps;

/** Every map of lbrp.bpf.o and k8sdispatcher.bpf.o: also the ring buffer and the queue, which have no keys. */
export const mapNames: readonly string[] = [...Object.keys(maps), CNI_CALLS, MONITOR_EVENTS];

/** All structs, for the comparison with BTF. */
export const structs: readonly StructCodec<unknown>[] = [
  serviceKey,
  service,
  backend,
  sessionKey,
  session,
  endpointKey,
  endpoint,
  fragmentKey,
  fragment,
  cniCall,
  nodeConfig,
  counter,
  affinityKey,
  affinity,
  maglevSlots,
  nameKey,
  name,
  ...networkStructs,
  ...monitorStructs,
] as readonly StructCodec<unknown>[];
