/**
 * The layout that hostlb shares with user space beside layout.ts: mirrors bpf/lib/hostlb_types.h and maps_hostlb.h.
 * Structs are compared with the object's BTF when it is loaded.
 */
import {
  array,
  be16,
  ipv4,
  pad,
  struct,
  type StructCodec,
  u32,
  u64,
  type ValueOf,
} from "./codec.ts";
import { map } from "./descriptor.ts";
import { MAP_TYPE } from "./syscall.ts";

/** BPF_MAP_TYPE_SK_STORAGE */
const SK_STORAGE = 24;

/** enum hostlb_flags */
export const HOSTLB_FLAG = { ALL: 1 } as const;
/** HOSTLB_FLOWS: services that an unconnected UDP socket can talk to and tell apart. */
export const HOSTLB_FLOWS = 8;

/** Where hostlb sends connections that nobody would answer; the kernel refuses them. */
export const REFUSED = { addr: "127.0.0.1", port: 0 } as const;

/** For whose sockets hostlb acts. */
export const hostlbConfig = struct("hostlb_config", {
  /** Of the node's network namespace; 0n: the initial one. */
  netns_cookie: u64,
  /** HOSTLB_FLAG */
  flags: u32,
  reserved: pad(u32),
});
export type HostlbConfig = ValueOf<typeof hostlbConfig>;

/** What a socket calls a service, and the backend it got. */
export const hostlbFlow = struct("hostlb_flow", {
  /** "0.0.0.0": the place is free. */
  addr: ipv4,
  /** REFUSED.addr with port REFUSED.port: there was no backend. */
  backend_addr: ipv4,
  port: be16,
  backend_port: be16,
  /** In `backends`, when the choice was made. */
  index: u32,
});
export type HostlbFlow = ValueOf<typeof hostlbFlow>;

/** What is kept with a socket. */
export const hostlbSocket = struct("hostlb_socket", {
  flows: array(hostlbFlow, HOSTLB_FLOWS),
  last: u32,
  next: u32,
});
export type HostlbSocket = ValueOf<typeof hostlbSocket>;

/** A socket's cookie, the one that sock_diag tells. */
export const hostlbConnectionKey = struct("hostlb_connection_key", { cookie: u64 });
export type HostlbConnectionKey = ValueOf<typeof hostlbConnectionKey>;

/** What a connected UDP socket is connected to. */
export const hostlbConnection = struct("hostlb_connection", {
  /** The service as the process asked for it. */
  addr: ipv4,
  /** REFUSED.addr with port REFUSED.port: there was no backend. */
  backend_addr: ipv4,
  port: be16,
  backend_port: be16,
});
export type HostlbConnection = ValueOf<typeof hostlbConnection>;

/** Names of enum hostlb_event, in its order: the index in `hostlb_counters`. */
export const hostlbEvents = [
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

/** Name of an event. */
export type HostlbEvent = typeof hostlbEvents[number]["name"];

/** Maps that only hostlb uses. */
export const hostlbMaps = {
  hostlb_config: map("hostlb_config", MAP_TYPE.ARRAY, u32, hostlbConfig),
  hostlb_connections: map(
    "hostlb_connections",
    MAP_TYPE.LRU_HASH,
    hostlbConnectionKey,
    hostlbConnection,
  ),
  hostlb_counters: {
    name: "hostlb_counters",
    type: MAP_TYPE.PERCPU_ARRAY,
    key: u32,
    value: u64,
    perCpu: true,
  },
  /** Keys are descriptors of sockets. */
  hostlb_sockets: map("hostlb_sockets", SK_STORAGE, u32, hostlbSocket),
} as const;

/** Structs for the comparison with BTF. */
export const hostlbStructs: readonly StructCodec<unknown>[] = [
  hostlbConfig,
  hostlbFlow,
  hostlbSocket,
  hostlbConnectionKey,
  hostlbConnection,
] as readonly StructCodec<unknown>[];
