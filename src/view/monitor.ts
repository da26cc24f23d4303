/**
 * Listens to packets: requests reasons in the map `monitor`, and reads the ring buffer that the programs write. One listener
 * a node.
 */
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { possibleCpus } from "../bpf/codec.ts";
import {
  MONITOR_END_FLAG,
  type MonitorEnd,
  type MonitorEvent,
  monitorEvent,
  queues,
  SESSION_FLAG,
  type SessionKey,
} from "../bpf/layout.ts";
import { mapPin } from "../bpf/pins.ts";
import { reasonIndex, type ReasonInfo, reasons } from "../bpf/reasons.ts";
import { RingBuffer } from "../bpf/ringbuf.ts";
import { objGet } from "../bpf/syscall.ts";
import { monotonicNow } from "../linux/clock.ts";
import { closeFd } from "../linux/libc.ts";
import { LockedError, lockFile } from "../node/lock.ts";
import { Budget } from "./monitor_budget.ts";
import { parsePortName } from "./names.ts";
import type { NodeReader } from "./node.ts";
import { type Flow, formatEnd, PROTOCOL_NUMBER, readPacket } from "./packet.ts";

/** This node has a listener already. */
export class BusyError extends Error {
  override readonly name = "BusyError";
}

/** Which packets to show. */
export interface MonitorFilter {
  reasons: readonly ReasonInfo[];
  /** Of this pod: its address. */
  pod?: string;
  /** Of this Service: `namespace/name`. */
  service?: string;
  /** One in so many, at random; 1: all. */
  oneIn: number;
  /** Of at most so many a second, lasting; more may come at once. */
  perSecond: number;
}

/** Called after each read of the ring buffer. */
interface Listener {
  /** In the order of their CPUs; of one CPU in the order of time. */
  seen(observations: Observation[]): void;
  /** Packets that matched since the last call and were not shown. At most once a second, never 0. */
  lost(packets: number): void;
}

/** A packet, and the reason that a program gave it. */
export interface Observation {
  /** Milliseconds since the epoch. */
  time: number;
  reason: ReasonInfo;
  device: string;
  /** Bytes of the frame. */
  bytes: number;
  /** As it left the program; undefined for what is no IPv4 with ports or an echo. */
  flow?: Flow;
  /** What the client sends to, where that was translated. */
  service?: string;
  /** `namespace/name` of the pod it is from, and to. */
  from?: string;
  to?: string;
}

/** Nanoseconds after which a listener that was killed is forgotten. */
const LEASE = 3_000_000_000n;
/** Milliseconds between reads of the ring buffer. */
const READ_MS = 50;
/** Milliseconds between renewals of the lease, and between reports of lost packets. */
const RENEW_MS = 1000;

/** Reasons of drops and rejections. */
export const isBad = ({ name, kind }: ReasonInfo): boolean =>
  kind === "drop" || name.startsWith("rejected_");

/** Reasons that a packet can have. */
export const packetReasons = reasons.filter(({ kind }) => kind !== "none" && kind !== "event");

/**
 * The ring buffer has one reader: a second one would take packets from the first.
 * @throws {BusyError} when this node has a listener already
 */
export function lockMonitor(stateDir: string): Disposable {
  try {
    const lock = lockFile(join(stateDir, "monitor.lock"));
    return { [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
    throw new BusyError(
      `this node has a listener already, the page or pcnk monitor: ${error.message}; stop it first`,
    );
  }
}

/** Listens until the signal; returns how many packets were lost: beyond the rate, or no room in the buffer. */
export async function listen(
  node: NodeReader,
  filter: MonitorFilter,
  listener: Listener,
  signal: AbortSignal,
): Promise<number> {
  const lostBefore = lost(node);
  const fd = objGet(mapPin(node.place.bpffs, queues.monitor_events.name));
  const ends = endsOf(node, filter);
  const epoch = BigInt(Date.now()) * 1_000_000n - monotonicNow();
  const found: Observation[] = [];
  try {
    await using ring = RingBuffer.open(fd, (record) => {
      const event = monitorEvent.decode(new DataView(record.buffer), 0);
      found.push(observe(node, event, epoch));
    });
    const read = () => {
      const count = ring.consume();
      if (count > 0) listener.seen(found.splice(0));
      return count;
    };
    const budget = new Budget(filter.perSecond, performance.now());
    let reported = lostBefore;
    const reportLost = () => {
      const now = lost(node);
      if (now > reported) listener.lost(Number(now - reported));
      reported = now;
    };
    ring.forget();
    for (const [end, bits] of ends) node.maps.monitor_ends.set(end, bits);
    allow(node, budget.left);
    let renewed = -Infinity;
    while (!signal.aborted) {
      if (performance.now() - renewed > RENEW_MS) {
        request(node, filter, ends.length > 0);
        if (renewed > 0) reportLost();
        renewed = performance.now();
      }
      if (budget.spend(read(), performance.now())) allow(node, budget.left);
      await pause(READ_MS, signal);
    }
    silence(node);
    read();
  } finally {
    silence(node);
    for (const [end] of ends) node.maps.monitor_ends.delete(end);
    closeFd(fd);
  }
  return Number(lost(node) - lostBefore);
}

/** Each source may use as much of this as it leaves to others (bpf/lib/monitor.h), anew with each round. */
function allow({ maps }: NodeReader, left: number): void {
  const budget = { left: BigInt(left), round: monotonicNow() };
  maps.monitor_budget.set(0, Array.from({ length: possibleCpus() }, () => budget));
}

function silence({ maps }: NodeReader): void {
  maps.monitor.set(0, { reasons: [0n, 0n], until: 0n, sample: 0, ends: 0 });
}

/** Requests reasons for the length of the lease. */
function request(
  { maps }: NodeReader,
  { reasons: wanted, oneIn, pod, service }: MonitorFilter,
  ends: boolean,
) {
  const bits = [0n, 0n];
  for (const { name } of wanted) {
    const index = reasons.findIndex((one) => one.name === name);
    bits[Math.floor(index / 64)]! |= 1n << BigInt(index % 64);
  }
  maps.monitor.set(0, {
    reasons: bits,
    until: monotonicNow() + LEASE,
    sample: oneIn <= 1 ? 0xffff_ffff : Math.floor(0xffff_ffff / oneIn),
    ends: ends ? (pod ? MONITOR_END_FLAG.POD : 0) | (service ? MONITOR_END_FLAG.SERVICE : 0) : 0,
  });
}

/** Addresses that the kernel compares a packet's two ends with. @throws Error when the Service is not there */
function endsOf(node: NodeReader, { pod, service }: MonitorFilter): [MonitorEnd, number][] {
  const { maps } = node;
  const found = new Map<string, [MonitorEnd, number]>();
  const add = (addr: string, port: number, bit: number) => {
    const key = `${addr}:${port}`;
    found.set(key, [{ addr, port }, (found.get(key)?.[1] ?? 0) | bit]);
  };
  if (pod !== undefined) add(pod, 0, MONITOR_END_FLAG.POD);
  if (service !== undefined) {
    for (const [key, entry] of maps.services.entries()) {
      const { namespace, service: name } = parsePortName(node.portName(entry.id));
      if (`${namespace}/${name}` !== service) continue;
      // A NodePort is known by its port at each address of the node.
      const addresses = key.addr === "0.0.0.0"
        ? maps.node_addrs.keys().map(({ addr }) => addr)
        : [key.addr];
      for (const address of addresses) add(address, key.port, MONITOR_END_FLAG.SERVICE);
      for (const backend of maps.backends.range(entry.first, entry.count)) {
        add(backend.addr, backend.port, MONITOR_END_FLAG.SERVICE);
      }
    }
    if (found.size === 0) {
      throw new Error(`there is no Service ${service} in the kernel (pcnk get services)`);
    }
  }
  return [...found.values()];
}

function observe(node: NodeReader, event: MonitorEvent, epoch: bigint): Observation {
  const flow = readPacket(event.head.subarray(0, event.captured));
  const observation: Observation = {
    time: Number((event.time + epoch) / 1_000_000n),
    reason: reasons[event.reason] ?? reasons[0]!,
    device: node.device(event.ifindex),
    bytes: event.len,
  };
  if (flow === undefined) return observation;
  const [from, to] = [flow.src, flow.dst].map((address) => node.pods.get(address)?.pod);
  const service = serviceOf(node, flow);
  return {
    ...observation,
    flow,
    service: service || undefined,
    from: from || undefined,
    to: to || undefined,
  };
}

/** The frontend of a translated packet, by the session of its other direction. */
function serviceOf({ maps }: NodeReader, flow: Flow): string | undefined {
  const { src, dst, sport, dport } = flow;
  const proto = PROTOCOL_NUMBER[flow.protocol];
  const reverse: SessionKey = { src: dst, dst: src, sport: dport, dport: sport, proto, zone: 0 };
  const back = maps.sessions.get(reverse) ?? maps.assured.get(reverse);
  if (back === undefined || back.flags & SESSION_FLAG.MASQUERADE) return undefined;
  // Of a packet to a backend the reply's source becomes the service; of a reply it is its own source already.
  return back.flags & SESSION_FLAG.REPLY ? formatEnd(flow, back.src, back.sport) : undefined;
}

function lost({ maps }: NodeReader): bigint {
  const cpus = maps.counters.get(reasonIndex("event_monitor_lost")) ?? [];
  return cpus.reduce((sum, { packets }) => sum + packets, 0n);
}

/** Waits so long, or until the signal. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal }).catch(() => {});
}
