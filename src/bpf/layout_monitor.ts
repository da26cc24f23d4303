/** The part of the layout that tells a listener what becomes of packets. Mirrors bpf/lib/types.h, see bpf/lib/monitor.h. */
import {
  array,
  be16,
  bytes,
  ipv4,
  pad,
  struct,
  type StructCodec,
  u16,
  u32,
  u64,
  type ValueOf,
} from "./codec.ts";
import { map } from "./descriptor.ts";
import { MAP_TYPE } from "./syscall.ts";

/** Bytes of a frame that a listener gets. */
export const MONITOR_HEAD = 80;

/** What a listener asks for. */
export const monitor = struct("monitor", {
  /** A bit for each reason, by its index. */
  reasons: array(u64, 2),
  /** Nanoseconds of the monotonic clock: the listener is gone if it did not say otherwise by then. */
  until: u64,
  /** 0xffffffff: every packet; half of that: every other, at random. */
  sample: u32,
  /** Bits of `monitor_ends` that a packet's two ends must have together. */
  ends: u32,
});
export type Monitor = ValueOf<typeof monitor>;

/** How many packets a listener may still be told of, on one CPU. */
export const monitorBudget = struct("monitor_budget", { left: u64 });
export type MonitorBudget = ValueOf<typeof monitorBudget>;

/** An address that packets are asked for by. */
export const monitorEnd = struct("monitor_end", {
  addr: ipv4,
  /** 0: any. */
  port: be16,
  reserved: pad(u16),
});
export type MonitorEnd = ValueOf<typeof monitorEnd>;

/** What a listener is told of a packet. */
export const monitorEvent = struct("monitor_event", {
  /** Nanoseconds of the monotonic clock. */
  time: u64,
  /** The device that the program is on. */
  ifindex: u32,
  /** Bytes of the frame. */
  len: u32,
  /** Index of the reason. */
  reason: u16,
  /** Bytes of `head` that are the frame's. */
  captured: u16,
  reserved: pad(u32),
  /** As the frame left the program: translated, if it was. */
  head: bytes(MONITOR_HEAD),
});
export type MonitorEvent = ValueOf<typeof monitorEvent>;

/** Kinds of ends, bits of the values of `monitor_ends`. */
export const MONITOR_END = { POD: 1, SERVICE: 2 } as const;

/** The maps, by their names in C; the ring buffer `monitor_events` has neither keys nor values. */
export const monitorMaps = {
  monitor: map("monitor", MAP_TYPE.ARRAY, u32, monitor),
  monitor_ends: map("monitor_ends", MAP_TYPE.HASH, monitorEnd, u32),
  monitor_budget: {
    name: "monitor_budget",
    type: MAP_TYPE.PERCPU_ARRAY,
    key: u32,
    value: monitorBudget,
    perCpu: true,
  },
} as const;

/** Name of the ring buffer. */
export const MONITOR_EVENTS = "monitor_events";

/** Structs for the comparison with BTF. */
export const monitorStructs: readonly StructCodec<unknown>[] = [
  monitor,
  monitorBudget,
  monitorEnd,
  monitorEvent,
] as readonly StructCodec<unknown>[];
