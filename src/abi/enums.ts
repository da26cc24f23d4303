/** Numbers and flags that programs and user space share: the enums of bpf/lib. */
// Made out of bpf/lib, comments too: change it there and run `deno task layouts`.

export const MAC_LEN = 6;

export const SHARE_PODS = 256;

export const SHARE_OTHERS = 128;

export const SHARE_KINDS = 5;

export const SCARCE_ENDS = 256;

export const RATE_SLOTS = 16384;

export const SHARE_AFFINITY_SLOTS = 4096;

export const MAGLEV_SLOTS = 4;

export const NAME_LEN = 256;

export const MONITOR_HEAD = 80;

export const HOSTLB_FLOWS = 8;

/** `enum proto`. IP protocol numbers (IANA). */
export const PROTO = {
  /** of an address entry */
  NONE: 0,
  ICMP: 1,
  TCP: 6,
  UDP: 17,
} as const;

/** `enum scope`. Where clients of a frontend are. */
export const SCOPE = {
  /** from pods and from the node itself */
  CLUSTER: 0,
  /** from outside the cluster */
  EXTERNAL: 1,
} as const;

/** `enum service_flag`. */
export const SERVICE_FLAG = {
  /** the (addr, 0, 0) entry */
  ADDRESS: 1,
  /** only for clients in `source_ranges` */
  SOURCE_RANGES: 2,
  /** without a backend: dropped, not rejected; other nodes may have one */
  LOCAL_ONLY: 4,
  /** the backend is a hash of the client, by `table` */
  MAGLEV: 8,
} as const;

/** `enum backend_flag`. */
export const BACKEND_FLAG = {
  TERMINATING: 1,
} as const;

/** `enum session_zone`. */
export const SESSION_ZONE = {
  /** translations to and from backends, and of replies to masqueraded flows */
  SERVICE: 0,
  /** from a pod, out of the cluster: looked up where it leaves the node */
  MASQUERADE: 1,
  /** no flow: a CPU's lock on the same key of ZONE_SERVICE */
  CLAIM: 2,
} as const;

/** `enum session_state`. of TCP; other protocols stay at NEW in the forward entry */
export const SESSION_STATE = {
  /** the client has not acknowledged anything yet; reply entry: no reply yet */
  NEW: 0,
  ESTABLISHED: 1,
  /** a FIN went one way */
  CLOSING: 2,
  /** FIN both ways, or RST */
  CLOSED: 3,
} as const;

/** `enum session_flag`. */
export const SESSION_FLAG = {
  FIN_FORWARD: 1,
  FIN_REPLY: 2,
  /** the client is its own backend */
  HAIRPIN: 4,
  /** reply direction, backend -> client; else client -> frontend */
  REPLY: 8,
  /** the forward entry is in ZONE_MASQUERADE, the reply's is not */
  MASQUERADE: 16,
  /** the backend sees an address of this node */
  SNAT: 32,
  /** the client's FIN came before the backend's */
  CLIENT_FIRST: 64,
  /** not translated: came in by the node's stack, and leaves by it */
  STACK: 128,
} as const;

/**
 * `enum session_tcp_flag`. What is known of a TCP connection, of the direction of the entry:
 * tcp_window.h.
 */
export const SESSION_TCP_FLAG = {
  /** `ack` is known */
  ACKED: 1,
  /** the next segment may change the state */
  WATCH: 2,
  /** the newest segment is a SYN */
  SYN: 4,
  /** the newest segment is a FIN that only the other end's ACK will confirm */
  FIN_NOTED: 8,
  /** its reset was believed */
  RESET: 16,
} as const;

/** `enum share_kind`. What sources share. */
export const SHARE_KIND = {
  SESSIONS: 0,
  /** source ports to one destination */
  PORTS: 1,
  FRAGMENTS: 2,
  AFFINITY: 3,
  /** packets that a listener gets */
  MONITOR: 4,
} as const;

/** `enum pod_device_flag`. */
export const POD_DEVICE_FLAG = {
  /** may send from addresses of others: a router, a machine in a pod */
  UNCHECKED: 1,
} as const;

/** `enum rate_flag`. */
export const RATE_FLAG = {
  /** what the pod receives: its device's root qdisc */
  INGRESS: 1,
  /** what the pod sends: filters of its device's ingress qdisc */
  EGRESS: 2,
} as const;

/** `enum node_flag`. */
export const NODE_FLAG = {
  /** pods' packets leave the cluster with the uplink's address */
  MASQUERADE: 1,
  /** the overlay accepts packets from `vteps` only */
  KNOWN_VTEPS: 2,
  /** pods' packets to the world pass by the stack, both ways */
  EGRESS_STACK: 4,
  /** pods send from their own addresses only */
  SOURCE_CHECK: 8,
  /** pods of this node hear each other's multicast and broadcast */
  POD_MULTICAST: 16,
  /** sources that nothing has by an uplink are dropped there */
  UPLINK_CHECK: 32,
  /** such are pods of `remotes` by the overlay: they come by it alone */
  TUNNELLED: 64,
  /** such are pods, whatever they send to: masquerade has no exceptions */
  PODS_HIDDEN: 128,
} as const;

/** `enum affinity_kind`. */
export const AFFINITY_KIND = {
  /** client: an address, addr_t */
  ADDRESS: 0,
  /** client: the cookie of a network namespace */
  NETNS: 1,
} as const;

/** `enum remote_mode`. */
export const REMOTE_MODE = {
  /** as the node's routes say */
  ROUTED: 0,
  OVERLAY: 1,
  DIRECT: 2,
} as const;

/** `enum node_addr_flag`. */
export const NODE_ADDR_FLAG = {
  /** of this node; else of another one */
  LOCAL: 1,
} as const;

/** `enum name_kind`. */
export const NAME_KIND = {
  /** id: service.id; `default/web:http/TCP` */
  SERVICE_PORT: 1,
  /** id: the node's address, in host byte order */
  NODE: 2,
} as const;

/**
 * `enum monitor_end_flag`. Kinds of ends of a packet, bits of the values of `monitor_ends`.
 */
export const MONITOR_END_FLAG = {
  POD: 1,
  SERVICE: 2,
} as const;

/** `enum cni_verb`. */
export const CNI_VERB = {
  ADD: 1,
  CHECK: 2,
  DEL: 3,
  GC: 4,
  STATUS: 5,
} as const;

/** `enum hostlb_flag`. */
export const HOSTLB_FLAG = {
  /** sockets of every network namespace; else the node's only */
  ALL: 1,
} as const;

/** `enum hostlb_event`. Index into `hostlb_counters`. Append only. */
export const HOSTLB_EVENTS = [
  { name: "hostlb_connected", help: "sockets connected to a backend" },
  { name: "hostlb_flow_created", help: "backends chosen for unconnected UDP sockets" },
  { name: "hostlb_flow_moved", help: "the same, because the one before was gone" },
  { name: "hostlb_rejected_no_backend", help: "rejected: the service has no backends" },
  { name: "hostlb_rejected_no_port", help: "rejected: the service address has no such port" },
  { name: "hostlb_flow_not_recorded", help: "no memory: the process sees the backend's address" },
  {
    name: "hostlb_denied_no_local_backend",
    help: "denied: traffic policy Local, and no backend on this node",
  },
  {
    name: "hostlb_denied_source_range",
    help: "denied: client outside the service's loadBalancerSourceRanges",
  },
] as const;

/** `enum reason`. */
export const REASONS = [
  { name: "reason_none", help: "not counted" },
  { name: "pass_truncated", help: "shorter than the headers it must have" },
  { name: "pass_arp", help: "ARP" },
  { name: "pass_ipv6", help: "IPv6" },
  { name: "pass_vlan", help: "VLAN tagged" },
  { name: "pass_ethertype", help: "an unknown ethertype" },
  { name: "pass_malformed", help: "an IPv4 header that contradicts itself or the frame" },
  { name: "pass_protocol", help: "neither TCP nor UDP nor ICMP" },
  {
    name: "pass_fragment",
    help: "a fragment of no session, or ahead of the first one without room to wait",
  },
  { name: "pass_icmp", help: "ICMP to neither a service nor a local pod" },
  { name: "pass_icmp_error", help: "an ICMP error about no translated flow" },
  { name: "pass_no_service", help: "to neither a service nor a local pod" },
  { name: "pass_no_session", help: "of no session: into a pod, or out of the node from no pod" },
  { name: "pass_tunnel", help: "the overlay's own packets" },
  { name: "pass_other_host", help: "a frame for another host" },
  { name: "pass_local_source", help: "from outside to the node, with the address of a local pod" },
  { name: "pass_not_masqueraded", help: "from a pod to a masquerade-exempt destination or client" },
  { name: "pass_ttl_expired", help: "TTL expired: the stack sends ICMP time exceeded" },
  { name: "pass_too_big", help: "larger than the path's MTU: the stack fragments or rejects it" },
  { name: "forward_delivered", help: "client to a local backend" },
  { name: "forward_sent", help: "client to a backend elsewhere, past the stack" },
  { name: "forward_routed", help: "client to a backend, by the node's stack" },
  { name: "reply_delivered", help: "backend to a local client, or the world to a masqueraded pod" },
  { name: "reply_sent", help: "backend to a client elsewhere, past the stack" },
  { name: "reply_routed", help: "backend to a client, by the node's stack" },
  { name: "direct_delivered", help: "to a local pod without a service" },
  { name: "direct_sent", help: "pod to another node's pod without a service" },
  { name: "masqueraded", help: "pod to the world, with the node's address" },
  { name: "icmp_error_delivered", help: "an ICMP error translated, to a local pod" },
  { name: "icmp_error_sent", help: "an ICMP error translated, past the stack" },
  { name: "icmp_error_routed", help: "an ICMP error translated, by the node's stack" },
  { name: "echo_replied", help: "a ping of a service address" },
  { name: "rejected_no_backend", help: "rejected: the service has no backends" },
  { name: "rejected_no_port", help: "rejected: the service address has no such port" },
  { name: "replied_ttl_expired", help: "replied with ICMP time exceeded: TTL expired" },
  {
    name: "replied_too_big",
    help: "replied with ICMP fragmentation needed: larger than the path's MTU",
  },
  { name: "drop_rst_no_session", help: "a TCP reset of no session" },
  {
    name: "drop_invalid_source",
    help: "no reply may go to its source: no unicast address of a host",
  },
  { name: "drop_sessions_full", help: "no room for a session" },
  { name: "drop_ports_exhausted", help: "every source port tried was in use" },
  { name: "drop_rewrite_failed", help: "the kernel refused to change the packet" },
  { name: "drop_no_local_backend", help: "traffic policy Local, and no backend on this node" },
  { name: "drop_source_range", help: "client outside the service's loadBalancerSourceRanges" },
  { name: "drop_no_snat_address", help: "the node's own source address is not known" },
  { name: "drop_ttl_expired", help: "an ICMP error, TTL expired" },
  { name: "drop_no_route", help: "to a backend that no uplink leads to" },
  { name: "drop_too_big", help: "a later fragment, larger than the path's MTU" },
  { name: "drop_rate_limited", help: "a rejection or ICMP error above the node's rate limit" },
  { name: "drop_unknown_vni", help: "out of the overlay, of another VXLAN network identifier" },
  { name: "event_session_created", help: "sessions created" },
  { name: "event_session_repaired", help: "session entries lost and created again" },
  { name: "event_session_without_syn", help: "TCP sessions created in the middle of a connection" },
  { name: "event_port_changed", help: "flows that got another source port" },
  { name: "event_backend_missing", help: "services that point behind the backends" },
  {
    name: "event_session_replaced",
    help: "sessions that a direct flow with the same 5-tuple replaced",
  },
  { name: "drop_fragment", help: "pod to the world: a fragment ahead of the first" },
  { name: "drop_icmp", help: "pod to the world: neither an echo nor an error of a known flow" },
  { name: "drop_protocol", help: "pod to the world: neither TCP nor UDP nor ICMP" },
  { name: "event_monitor_lost", help: "packets that pcnk monitor lost: too many at once" },
  { name: "drop_unknown_vtep", help: "out of the overlay, from no node of the cluster" },
  { name: "world_sent", help: "pod to the world by an uplink, past the stack" },
  { name: "pass_node_flow", help: "to a service's port, but of a flow of the node itself" },
  {
    name: "event_fragment_held",
    help: "fragments held until the first one of their datagram came",
  },
  { name: "event_fragment_not_held", help: "fragments ahead of the first one that found no room" },
  {
    name: "drop_fragment_tiny",
    help: "a fragment that cuts the transport header, or is empty (RFC 1858, 3128)",
  },
  {
    name: "drop_fragment_overlap",
    help:
      "a fragment that overlaps another or ends behind the last one, or of a datagram of which one was refused (RFC 5722)",
  },
  {
    name: "event_session_restored",
    help: "entries of assured sessions that were evicted and restored",
  },
  {
    name: "event_session_unassured",
    help: "sessions not assured: no room, or their client has its share",
  },
  {
    name: "event_session_recycled",
    help: "sessions that newer ones of the same client, above its share, replaced",
  },
  { name: "drop_source_address", help: "from a pod, with a source address that is not its own" },
  { name: "drop_source_mac", help: "from a pod, with a source MAC address that is not its own" },
  { name: "drop_arp_sender", help: "from a pod, ARP with a sender that it is not, or malformed" },
  {
    name: "drop_router_message",
    help: "from a pod, what routers and DHCP servers say, ICMP errors about others' packets too",
  },
  { name: "drop_ethertype", help: "from a pod, VLAN tagged, or neither IPv4, IPv6 nor ARP" },
  { name: "drop_malformed", help: "from a pod, headers that contradict themselves or the frame" },
  { name: "drop_loopback", help: "from a pod to 127.0.0.0/8" },
  {
    name: "drop_tunnel",
    help: "to a tunnel's port, with the node's address, and not from the node",
  },
  {
    name: "drop_tunnel_source",
    help: "out of the overlay, from a source that is not of that node",
  },
  { name: "replied_arp", help: "replied to a pod's ARP request for another pod of this node" },
  {
    name: "event_segment_ignored",
    help:
      "TCP resets, FINs and SYNs that change no session: not in its window, or with a wrong checksum",
  },
  {
    name: "drop_uplink_source",
    help:
      "from an uplink, with the source of a pod, this node, a Service or no host, which never comes from there",
  },
  {
    name: "drop_checksum",
    help:
      "from a pod or out of the overlay, with a checksum that a device would write into a header (CHECKSUM_PARTIAL)",
  },
  {
    name: "drop_fragment_share",
    help: "from a pod, a fragment beyond its share of datagrams that are not whole",
  },
] as const;

/** `enum conversion_phase`. Which table is authoritative: see session_converting.h. */
export const CONVERSION_PHASE = {
  FORMER: 0,
  MIRRORED: 1,
  NEW: 2,
} as const;
