/**
 * Keys and values of the maps that programs and user space share. Members have their C names; addresses are texts and
 * ports numbers, whatever their byte order in the map.
 */
// Made out of bpf/lib, comments too: change it there and run `deno task layouts`.

import {
  array,
  be16,
  bytes,
  cookie,
  ipv4,
  mac,
  map,
  ns,
  pad,
  perCpuMap,
  port,
  struct,
  text,
  u16,
  u32,
  u64,
  u8,
  type ValueOf,
} from "./codec.ts";
import { MAP_TYPE } from "./syscall.ts";

export * from "../abi/enums.ts";

/**
 * A frontend: what a client sends to. Two entries describe one ClusterIP port: (addr, port,
 * proto) itself, and (addr, 0, 0), which says that the address is a service address at all:
 * pings get a reply, packets to other ports are rejected.
 */
export const serviceKey = struct("service_key", {
  addr: ipv4,
  port,
  /** PROTO */
  proto: u8,
  /** SCOPE */
  scope: u8,
});
export type ServiceKey = ValueOf<typeof serviceKey>;

/**
 * The backends of a frontend are an extent of the `backends` array. An extent is written
 * before the service that points to it, and is not reused until every program that could
 * have read the old value has ended (the agent waits).
 */
export const service = struct("service", {
  /** identifies the Service port; never 0; stable across agent restarts */
  id: u32,
  /** index of the first backend of the extent */
  first: u32,
  /** backends in the extent; 0: packets are rejected */
  count: u32,
  /** sum of weights; 0: all weigh the same */
  total_weight: u32,
  /** sessionAffinity ClientIP timeout; 0: none */
  affinity_seconds: u32,
  /** SERVICE_FLAG */
  flags: u16,
  /** with SERVICE_MAGLEV: which of the tables in `maglev` */
  table: u16,
});
export type Service = ValueOf<typeof service>;

export const backend = struct("backend", {
  addr: ipv4,
  port,
  /** BACKEND_FLAG */
  flags: u8,
  reserved: pad(u8),
  /** cumulative weight of the extent up to and including this backend */
  weight_end: u32,
});
export type Backend = ValueOf<typeof backend>;

/**
 * Sessions are keyed by the whole 5-tuple as the packet carries it when it meets the
 * program. A flow has two entries, original and reply direction: the translation of one is,
 * reversed, the key of the other. One look-up serves both directions (SESSION_REPLY says
 * which one was found): their keys never collide, because the destination is a service
 * address in one, and that of a client in the other.
 */
export const sessionKey = struct("session_key", {
  src: ipv4,
  dst: ipv4,
  sport: port,
  dport: port,
  /** PROTO */
  proto: u8,
  /** SESSION_ZONE */
  zone: u8,
  reserved: pad(u16),
});
export type SessionKey = ValueOf<typeof sessionKey>;

/** What the matched packet becomes. */
export const session = struct("session", {
  /** refreshed at most once a second */
  last_seen: ns,
  src: ipv4,
  dst: ipv4,
  sport: port,
  dport: port,
  service_id: u32,
  /** SESSION_STATE; kept in the forward entry; reply entry: NEW or ESTABLISHED */
  state: u8,
  /** SESSION_FLAG */
  flags: u8,
  /** SESSION_TCP_FLAG */
  tcp: u16,
  /** the uplink that the client came in by, and replies leave by; 0: none */
  ifindex: u32,
  /** bpf_ktime_get_ns() of the flow's first packet; 0: unknown */
  created: u64,
  /** TCP, of this direction: the sequence number behind its newest segment */
  seq_end: u32,
  /** that many before it came without a gap */
  seq_run: u32,
  /** of its newest segment */
  ack: u32,
  /**
   * forward entry: milliseconds, when a SYN went to a backend that had replied since the one
   * before
   */
  asked: u32,
});
export type Session = ValueOf<typeof session>;

/** A client: a pod, or an address outside. */
export const sourceKey = struct("source_key", {
  addr: ipv4,
});
export type SourceKey = ValueOf<typeof sourceKey>;

/** What a source may have. One element, index 0. */
export const sessionLimits = struct("session_limits", {
  /** in each of `sessions` and `assured`; 0: the default of lib/config.h */
  flows: u32,
  /** of 256 source ports to one destination; 0: the default of lib/config.h */
  ports: u32,
  /** flows that each of both has room for; 0: the default of lib/config.h */
  capacity: u32,
  /** flows in `assured`, of all sources; the agent corrects it now and then */
  assured: u32,
});
export type SessionLimits = ValueOf<typeof sessionLimits>;

/** What it has of the session table. */
export const source = struct("source", {
  /** flows in `assured`; the agent corrects it now and then */
  assured: u32,
  /** counts its flows, from a random number, modulo 2^32 */
  created: u32,
});
export type Source = ValueOf<typeof source>;

/**
 * A flow of a source: the key of its forward entry, which may be another flow's by now, as
 * `created` says, or gone.
 */
export const sourceFlow = struct("source_flow", {
  key: sessionKey,
  /** session.created */
  created: ns,
});
export type SourceFlow = ValueOf<typeof sourceFlow>;

/** A source that wanted more than its share. */
export const shareKey = struct("share_key", {
  /** a pod of this node; 0: any address of elsewhere */
  addr: ipv4,
  /** the device of a pod, of OF_MONITOR, whatever address it says; else 0 */
  ifindex: u32,
});
export type ShareKey = ValueOf<typeof shareKey>;

/** A far end to which hardly any source port was free. */
export const scarcePorts = struct("scarce_ports", {
  /** when a flow of `source` found that */
  at: ns,
  /** when one of its flows found none at all */
  failed: ns,
  /** when a flow of another source found that, soon after */
  other: ns,
  source: ipv4,
  /** a hash of its address, port and protocol */
  far_end: u32,
});
export type ScarcePorts = ValueOf<typeof scarcePorts>;

export const shareExcess = struct("share_excess", {
  last: ns,
  /** by enum share_kind: flows replaced or refused, datagrams, packets */
  times: array(u64, 5),
});
export type ShareExcess = ValueOf<typeof shareExcess>;

/** The address of a pod of this node. */
export const endpointKey = struct("endpoint_key", {
  addr: ipv4,
});
export type EndpointKey = ValueOf<typeof endpointKey>;

/** A pod of this node. Written by the CNI plugin. */
export const endpoint = struct("endpoint", {
  /** host end of the pod's veth pair */
  ifindex: u32,
  /** of the pod's interface */
  mac,
  reserved: pad(u16),
  /** the pod's gateway: source address of hairpin flows; 0: unknown */
  gateway: ipv4,
});
export type Endpoint = ValueOf<typeof endpoint>;

/** The host end of the veth pair of a pod of this node. */
export const podDeviceKey = struct("pod_device_key", {
  ifindex: u32,
});
export type PodDeviceKey = ValueOf<typeof podDeviceKey>;

/** Written by the CNI plugin; the agent sets flags. */
export const podDevice = struct("pod_device", {
  /** of the pod's interface */
  mac,
  /** POD_DEVICE_FLAG */
  flags: u16,
  /** of the host end: at it the node's stack is reached */
  host_mac: mac,
  reserved: pad(u16),
});
export type PodDevice = ValueOf<typeof podDevice>;

/** A hostPort: the port of a pod at an address of this node. */
export const hostPortKey = struct("host_port_key", {
  /** hostIP; 0: every address of this node */
  addr: ipv4,
  port,
  /** PROTO */
  proto: u8,
  reserved: pad(u8),
});
export type HostPortKey = ValueOf<typeof hostPortKey>;

/** The pod and its port. Written by the CNI plugin. */
export const hostPort = struct("host_port", {
  addr: ipv4,
  port,
  reserved: pad(u16),
});
export type HostPort = ValueOf<typeof hostPort>;

/**
 * Limits of a pod's device, which another CNI plugin has set (bandwidth). Its slot is the
 * index modulo RATE_SLOTS; a device of the same slot takes it over. The one of index 0
 * stands for all: a pod of this node has, or had, a limit of what it sends.
 */
export const rate = struct("rate", {
  ifindex: u32,
  /** RATE_FLAG */
  flags: u32,
});
export type Rate = ValueOf<typeof rate>;

/** A datagram in fragments: the first one's ports, for those that carry none. */
export const fragment = struct("fragment", {
  began: ns,
  src: ipv4,
  dst: ipv4,
  id: be16,
  /** PROTO */
  proto: u8,
  /** overlapping: all of the datagram is dropped (RFC 5722) */
  refused: u8,
  sport: port,
  dport: port,
  /** first fragments seen, which have the ports */
  firsts: u32,
  /** 1: some wait in `held_fragments`; 2: they waited there, and may still be on their way */
  held: u32,
  /** pieces */
  count: u16,
  /** where: between two hooks the stack may cut fragments anew */
  hook: u8,
  /** its receiver may not get it whole: it stays in the load of its source */
  doubtful: u8,
  /** bytes of pieces that are entered */
  received: u16,
  /** bytes, once the last fragment came; else 0 */
  total: u16,
  /** fragment_load.sent, at the newest fragment */
  sent: u32,
  /** it has of the load of its source */
  units: u16,
  /** type of service 256 + TTL of the fragment that came first */
  route: u16,
  /** first 65536 + end, in bytes; the first fragment's is [0] */
  piece: array(u32, 64),
});
export type Fragment = ValueOf<typeof fragment>;

/**
 * Fragments of a pod whose datagrams are not whole, which receivers keep for
 * FRAGMENT_TIMEOUT. The last element: of all pods of the node.
 */
export const fragmentLoad = struct("fragment_load", {
  /** of that length, since boot */
  period: u64,
  /** of fragments of this period, and of the one before */
  units: u32,
  former: u32,
  /** counts fragments */
  sent: array(u32, 16),
});
export type FragmentLoad = ValueOf<typeof fragmentLoad>;

export const heldKey = struct("held_key", {
  source: u16,
  slot: u8,
  part: u8,
});
export type HeldKey = ValueOf<typeof heldKey>;

/** A part of a fragment that came ahead of the first one of its datagram. */
export const heldFragment = struct("held_fragment", {
  time: ns,
  /** index in `fragments` */
  datagram: u32,
  /** of the datagram: the place may be another's by now */
  id: be16,
  /** bytes of the frame */
  len: u16,
  src: ipv4,
  dst: ipv4,
  /** the device that it came in by */
  ifindex: u32,
  reserved: pad(u32),
  bytes: bytes(2048),
});
export type HeldFragment = ValueOf<typeof heldFragment>;

/**
 * One element, index 0. Timeouts in nanoseconds, checked once a second; 0: the default of
 * lib/config.h.
 */
export const nodeConfig = struct("node_config", {
  /** no handshake yet */
  tcp_new_timeout: ns,
  tcp_established_timeout: ns,
  /** half-closed: a FIN went one way */
  tcp_closing_timeout: ns,
  /** FIN both ways, or RST */
  tcp_closed_timeout: ns,
  udp_timeout: ns,
  icmp_timeout: ns,
  /** NODE_FLAG */
  flags: u32,
  /** the node's own address; 0: unknown */
  node_addr: ipv4,
  /** addresses of this node's pods: addr & pod_mask == pod_cidr */
  pod_cidr: ipv4,
  /** 0: unknown */
  pod_mask: ipv4,
  /** this node's on the pod network, source of flows from clients outside */
  snat_addr: ipv4,
  /** source ports for SNAT and masquerade; 0: the default range */
  snat_first: u16,
  snat_last: u16,
  /** the only one accepted; 0: any */
  overlay_vni: u32,
  /** UDP, of the tunnel itself; 0: no overlay */
  overlay_port: port,
  /** of every Maglev table, a prime; 0: no tables */
  maglev_size: u16,
  /** by which the stack gets pods' packets: the bridge; 0: their own device */
  pods_ifindex: u32,
  /** of pods' devices; 0: unknown */
  pods_mtu: u32,
});
export type NodeConfig = ValueOf<typeof nodeConfig>;

/** Which backend a client of a service with affinity got. */
export const affinityKey = struct("affinity_key", {
  /** by kind */
  client: u64,
  service_id: u32,
  /** AFFINITY_KIND */
  kind: u32,
});
export type AffinityKey = ValueOf<typeof affinityKey>;

export const affinity = struct("affinity", {
  /** time of the last new flow */
  last_used: ns,
  addr: ipv4,
  port,
  reserved: pad(u16),
  /** in `backends`, when the choice was made */
  index: u32,
  reserved2: pad(u32),
});
export type Affinity = ValueOf<typeof affinity>;

export const affinityProvenKey = struct("affinity_proven_key", {
  /** by kind */
  client: u64,
  /** the service's id, modulo SHARE_AFFINITY_SLOTS */
  slot: u32,
  /** AFFINITY_KIND */
  kind: u32,
});
export type AffinityProvenKey = ValueOf<typeof affinityProvenKey>;

/** The same of a client whose address is known not to be forged. */
export const affinityProven = struct("affinity_proven", {
  /** time of the last new flow */
  last_used: ns,
  addr: ipv4,
  port,
  reserved: pad(u16),
  /** in `backends`, when the choice was made */
  index: u32,
  service_id: u32,
});
export type AffinityProven = ValueOf<typeof affinityProven>;

export const maglevSlots = struct("maglev_slots", {
  backend: array(u16, 4),
});
export type MaglevSlots = ValueOf<typeof maglevSlots>;

/** Key of a longest-prefix map over addresses. */
export const cidrKey = struct("cidr_key", {
  prefixlen: u32,
  addr: ipv4,
});
export type CidrKey = ValueOf<typeof cidrKey>;

/** How to reach the pods of another node. Key: its podCIDR (struct cidr_key). */
export const remote = struct("remote", {
  /** overlay: the node at the tunnel's far end; direct: the next hop */
  via: ipv4,
  /** the overlay's device, the uplink; 0: as the node's routes say */
  ifindex: u32,
  /** overlay */
  vni: u32,
  /** of packets on this path; 0: any */
  mtu: u16,
  /** REMOTE_MODE */
  mode: u8,
  reserved: pad(u8),
  /** overlay: of the far end's device */
  mac,
  reserved2: pad(u16),
});
export type Remote = ValueOf<typeof remote>;

/** A device to the other nodes and the world. */
export const uplinkKey = struct("uplink_key", {
  ifindex: u32,
});
export type UplinkKey = ValueOf<typeof uplinkKey>;

export const uplink = struct("uplink", {
  /** source of masqueraded packets; 0: unknown */
  addr: ipv4,
  mtu: u32,
});
export type Uplink = ValueOf<typeof uplink>;

/** An address of a node: NodePorts are open there. */
export const nodeAddrKey = struct("node_addr_key", {
  addr: ipv4,
});
export type NodeAddrKey = ValueOf<typeof nodeAddrKey>;

export const nodeAddr = struct("node_addr", {
  /** NODE_ADDR_FLAG */
  flags: u32,
});
export type NodeAddr = ValueOf<typeof nodeAddr>;

/** An outer source address of another node's tunnel packets. */
export const vtepKey = struct("vtep_key", {
  addr: ipv4,
});
export type VtepKey = ValueOf<typeof vtepKey>;

/** That node: the inner sources of its packets. */
export const vtep = struct("vtep", {
  /** its pods': addr & pod_mask == pod_cidr */
  pod_cidr: ipv4,
  /** 0: any, where several nodes share the outer address */
  pod_mask: ipv4,
  /** its own; 0: unknown */
  node_addr: ipv4,
});
export type Vtep = ValueOf<typeof vtep>;

/** One of a service's loadBalancerSourceRanges. */
export const sourceRangeKey = struct("source_range_key", {
  /** 32 (the service's id) and the length of the prefix */
  prefixlen: u32,
  service_id: u32,
  addr: ipv4,
});
export type SourceRangeKey = ValueOf<typeof sourceRangeKey>;

/** Packets and bytes for each enum reason (lib/reasons.h), per CPU. */
export const counter = struct("counter", {
  packets: u64,
  bytes: u64,
});
export type Counter = ValueOf<typeof counter>;

/** Names of the cluster's objects, for ids in other maps. */
export const nameKey = struct("name_key", {
  /** NAME_KIND */
  kind: u32,
  id: u32,
});
export type NameKey = ValueOf<typeof nameKey>;

/** UTF-8, zeros at the end. A node's name has at most 253 bytes, a port's 148. */
export const name = struct("name", {
  text: text(256),
});
export type Name = ValueOf<typeof name>;

/** A listener's filter. */
export const monitor = struct("monitor", {
  /** a bit for each enum reason */
  reasons: array(u64, 2),
  /** when the listener's lease ends, unless renewed */
  until: ns,
  /** 0xffffffff: every packet; half of that: every other, at random */
  sample: u32,
  /** MONITOR_END_FLAG; all of them must be at an end of the packet */
  ends: u32,
});
export type Monitor = ValueOf<typeof monitor>;

/**
 * How many packets may still be reported to a listener, per CPU. The listener refills it at
 * the rate that it can read: the rest of a flood is only counted.
 */
export const monitorBudget = struct("monitor_budget", {
  left: u64,
  /** which refill this is: the shares begin anew */
  round: u64,
});
export type MonitorBudget = ValueOf<typeof monitorBudget>;

/** Where packets come from. */
export const monitorShareKey = struct("monitor_share_key", {
  /** the device that they came in by; 0: the node itself */
  ifindex: u32,
  /** 0: all; else a number for their source address, by a hash */
  source: u32,
});
export type MonitorShareKey = ValueOf<typeof monitorShareKey>;

/** What they have used of the budget. */
export const monitorShare = struct("monitor_share", {
  /** monitor_budget.round */
  round: u64,
  used: u32,
  /** of all rounds */
  lost: u32,
});
export type MonitorShare = ValueOf<typeof monitorShare>;

/**
 * An address that a listener filters packets by; port 0: any. The value has a bit for each
 * kind of end: the pod, the service.
 */
export const monitorEnd = struct("monitor_end", {
  addr: ipv4,
  port,
  reserved: pad(u16),
});
export type MonitorEnd = ValueOf<typeof monitorEnd>;

/** A packet reported to a listener. */
export const monitorEvent = struct("monitor_event", {
  time: ns,
  /** the device that the program is on */
  ifindex: u32,
  /** bytes of the frame */
  len: u32,
  /** enum reason */
  reason: u16,
  /** bytes of `head` that the frame fills */
  captured: u16,
  reserved: pad(u32),
  /** as it left the program: translated, if it was */
  head: bytes(80),
});
export type MonitorEvent = ValueOf<typeof monitorEvent>;

/** A finished call of the CNI plugin. */
export const cniCall = struct("cni_call", {
  microseconds: u32,
  /** CNI_VERB */
  verb: u16,
  failed: u16,
});
export type CniCall = ValueOf<typeof cniCall>;

/** One element, index 0; written before the programs are attached. */
export const hostlbConfig = struct("hostlb_config", {
  /** of the node's network namespace; 0: the initial one */
  netns_cookie: cookie,
  /** HOSTLB_FLAG */
  flags: u32,
  reserved: pad(u32),
});
export type HostlbConfig = ValueOf<typeof hostlbConfig>;

/** The service address that a socket connected or sent to, and its backend. */
export const hostlbFlow = struct("hostlb_flow", {
  /** original destination; 0: the slot is free */
  addr: ipv4,
  /** REFUSED_ADDR with port 0: there was no backend */
  backend_addr: ipv4,
  port,
  backend_port: port,
  /** in `backends`, when the choice was made */
  index: u32,
});
export type HostlbFlow = ValueOf<typeof hostlbFlow>;

/** Kept with the socket, and freed with it. A TCP or connected UDP socket uses one flow. */
export const hostlbSocket = struct("hostlb_socket", {
  flows: array(hostlbFlow, 8),
  /** the flow used last: it owns the replies when two share a backend */
  last: u32,
  /** counts flows created; modulo HOSTLB_FLOWS the slot of the next one */
  next: u32,
});
export type HostlbSocket = ValueOf<typeof hostlbSocket>;

/**
 * A connected UDP socket, by its cookie. User space ends those whose backend was removed;
 * sock_diag shows the storage of TCP sockets only.
 */
export const hostlbConnectionKey = struct("hostlb_connection_key", {
  cookie,
});
export type HostlbConnectionKey = ValueOf<typeof hostlbConnectionKey>;

export const hostlbConnection = struct("hostlb_connection", {
  /** original destination */
  addr: ipv4,
  backend_addr: ipv4,
  port,
  backend_port: port,
});
export type HostlbConnection = ValueOf<typeof hostlbConnection>;

/** release 0.1.0 */
export const sessionV1 = struct("session_v1", {
  last_seen: ns,
  src: ipv4,
  dst: ipv4,
  sport: port,
  dport: port,
  service_id: u32,
  state: u8,
  flags: u8,
  reserved: pad(u16),
  ifindex: u32,
});
export type SessionV1 = ValueOf<typeof sessionV1>;

export const sessionV2 = struct("session_v2", {
  last_seen: ns,
  src: ipv4,
  dst: ipv4,
  sport: port,
  dport: port,
  service_id: u32,
  state: u8,
  flags: u8,
  reserved: pad(u16),
  ifindex: u32,
  created: u64,
});
export type SessionV2 = ValueOf<typeof sessionV2>;

/** One element. Also read by later versions of pcnk: its layout stays. */
export const conversion = struct("conversion", {
  /** CONVERSION_PHASE */
  phase: u32,
  /** the kernel's id of the new table */
  map: u32,
});
export type Conversion = ValueOf<typeof conversion>;

/** The maps that all programs of a node share. */
export const maps = {
  services: map("services", MAP_TYPE.HASH, serviceKey, service, "6198bb14"),
  backends: map("backends", MAP_TYPE.ARRAY, u32, backend, "290f343a"),
  sessions: map("sessions", MAP_TYPE.LRU_HASH, sessionKey, session, "bc7d9bbd"),
  /** Copies of the entries of flows that both ends have used: see session_assured.h. */
  assured: map("assured", MAP_TYPE.HASH, sessionKey, session, "bc7d9bbd"),
  session_limits: map("session_limits", MAP_TYPE.ARRAY, u32, sessionLimits, "e55cf03a"),
  sources: map("sources", MAP_TYPE.LRU_HASH, sourceKey, source, "fd424cea"),
  /** See session_source.h. */
  source_flows: map("source_flows", MAP_TYPE.ARRAY, u32, sourceFlow, "cd81e6c6"),
  /** By the hash of a far end: see snat.h. */
  scarce_ports: map("scarce_ports", MAP_TYPE.ARRAY, u32, scarcePorts, "b325bf5e"),
  /** Who wanted more than its share: see share.h. */
  shares: map("shares", MAP_TYPE.LRU_HASH, shareKey, shareExcess, "ddfca924"),
  endpoints: map("endpoints", MAP_TYPE.HASH, endpointKey, endpoint, "de4a3492"),
  /** See source_check.h. */
  pod_devices: map("pod_devices", MAP_TYPE.HASH, podDeviceKey, podDevice, "a12d13d5"),
  rates: map("rates", MAP_TYPE.ARRAY, u32, rate, "d56d238d"),
  host_ports: map("host_ports", MAP_TYPE.HASH, hostPortKey, hostPort, "2e812532"),
  remotes: map("remotes", MAP_TYPE.LPM_TRIE, cidrKey, remote, "f1b1cb13"),
  uplinks: map("uplinks", MAP_TYPE.HASH, uplinkKey, uplink, "c8c23514"),
  /**
   * Without loopback addresses: these are a node's only for its own processes, and martians on
   * the wire.
   */
  node_addrs: map("node_addrs", MAP_TYPE.HASH, nodeAddrKey, nodeAddr, "abe0754a"),
  vteps: map("vteps", MAP_TYPE.HASH, vtepKey, vtep, "3290316f"),
  /** Masquerade-exempt destinations. A set: values are not used. */
  no_masquerade: map("no_masquerade", MAP_TYPE.LPM_TRIE, cidrKey, u32, "309b5f6a"),
  /** A set: values are not used. */
  source_ranges: map("source_ranges", MAP_TYPE.LPM_TRIE, sourceRangeKey, u32, "bf3b5fcb"),
  affinity: map("affinity", MAP_TYPE.LRU_HASH, affinityKey, affinity, "fa343a90"),
  /** See affinity.h. */
  affinity_proven: map(
    "affinity_proven",
    MAP_TYPE.LRU_HASH,
    affinityProvenKey,
    affinityProven,
    "5e520850",
  ),
  maglev: map("maglev", MAP_TYPE.ARRAY, u32, maglevSlots, "b3d9d5b6"),
  fragments: map("fragments", MAP_TYPE.ARRAY, u32, fragment, "0efef7af"),
  /** See fragment_load.h. */
  fragment_loads: map("fragment_loads", MAP_TYPE.ARRAY, u32, fragmentLoad, "80a445bc"),
  /**
   * Takes memory only while something is held. Frames of one part each of all sources have
   * room, or those of five parts of a fifth of the sources.
   */
  held_fragments: map("held_fragments", MAP_TYPE.HASH, heldKey, heldFragment, "042d0650"),
  /**
   * Where an entry of `held_fragments` is made, and a whole frame saved: a program's stack is
   * smaller.
   */
  held_scratch: perCpuMap("held_scratch", MAP_TYPE.PERCPU_ARRAY, u32, heldFragment, "48e33620"),
  config: map("config", MAP_TYPE.ARRAY, u32, nodeConfig, "60e16151"),
  /** No program reads it: it is for the inspecting commands, also when no agent runs. */
  names: map("names", MAP_TYPE.HASH, nameKey, name, "0ca28384"),
  monitor: map("monitor", MAP_TYPE.ARRAY, u32, monitor, "5f6ce26a"),
  monitor_ends: map("monitor_ends", MAP_TYPE.HASH, monitorEnd, u32, "6d339ce7"),
  monitor_budget: perCpuMap(
    "monitor_budget",
    MAP_TYPE.PERCPU_ARRAY,
    u32,
    monitorBudget,
    "42af7155",
  ),
  monitor_shares: perCpuMap(
    "monitor_shares",
    MAP_TYPE.LRU_PERCPU_HASH,
    monitorShareKey,
    monitorShare,
    "20484719",
  ),
  counters: perCpuMap("counters", MAP_TYPE.PERCPU_ARRAY, u32, counter, "cc10857d"),
} as const;

export type MapName = keyof typeof maps;

/** Maps that only hostlb uses. */
export const hostlbMaps = {
  hostlb_config: map("hostlb_config", MAP_TYPE.ARRAY, u32, hostlbConfig, "c342932e"),
  /**
   * Storage local to sockets, not an LRU keyed by their cookies: it cannot fill up, nothing
   * has to be aged, and a closed socket leaves nothing behind.
   */
  hostlb_sockets: map("hostlb_sockets", MAP_TYPE.SK_STORAGE, u32, hostlbSocket, "e5137128"),
  /**
   * Entries are deleted when their socket closes; an LRU for sockets whose release no hook
   * saw.
   */
  hostlb_connections: map(
    "hostlb_connections",
    MAP_TYPE.LRU_HASH,
    hostlbConnectionKey,
    hostlbConnection,
    "c88e2636",
  ),
  hostlb_counters: perCpuMap("hostlb_counters", MAP_TYPE.PERCPU_ARRAY, u32, u64, "f78309ce"),
} as const;

/** Of the transitional programs, while sessions are converted. */
export const conversionMaps = {
  conversion: map("conversion", MAP_TYPE.ARRAY, u32, conversion, "31dd85cc"),
} as const;

/** What is pinned as a map and has no keys: ring buffers and queues. */
export const queues = {
  /**
   * No program uses it: the plugin pushes, the agent pops on a scrape of its metrics. A queue:
   * a push is one atomic step, and drops the oldest call when no agent reads.
   */
  cni_calls: { name: "cni_calls", fingerprint: "f7a028f6" },
  monitor_events: { name: "monitor_events", fingerprint: "a2aa9e63" },
} as const;
