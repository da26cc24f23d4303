/**
 * One ICMP echo (RFC 792) from a network namespace, with the reason when no reply comes. Uses a raw socket, because a ping
 * socket does not receive ICMP errors of routers and depends on a kernel parameter.
 */
import { closeFd, errnoText, syscall, trySyscall } from "./libc.ts";
import { withNetns } from "./netns.ts";
import { Poller } from "./poll.ts";
import { AF_INET, sockaddr } from "./sockaddr.ts";

const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0o4000 | 0o2000000;
const IPPROTO_ICMP = 1;
const IPPROTO_IP = 0;
const IP_TTL = 2;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_DO = 2;

const ECHO_REPLY = 0;
const UNREACHABLE = 3;
const ECHO = 8;
const TIME_EXCEEDED = 11;

/** Codes of "destination unreachable" (RFC 792, RFC 1812 section 5.2.7.1). */
const UNREACHABLE_REASONS: Record<number, string> = {
  0: "network unreachable",
  1: "host unreachable",
  2: "protocol unreachable",
  3: "port unreachable",
  4: "fragmentation needed",
  9: "network prohibited",
  10: "host prohibited",
  13: "administratively prohibited",
};

/** What to send. */
interface PingOptions {
  /** IPv4 address. */
  address: string;
  /** Network namespace to send from; the present one by default. */
  netnsPath?: string;
  /** Milliseconds; 1000 by default. */
  timeoutMs?: number;
  /** Source address; the kernel's choice by default. */
  source?: string;
  /** Bytes of data after the ICMP header; 56 by default. */
  size?: number;
  /** Forbids fragmentation. */
  dontFragment?: boolean;
  /** Time to live of the packet. */
  ttl?: number;
  /** ICMP identifier; random by default. */
  id?: number;
}

/** The outcome. `from` is the sender of the reply or error; the round trip is in milliseconds. */
export type PingResult =
  | { readonly ok: true; readonly from: string; readonly rttMs: number; readonly bytes: number }
  | {
    readonly ok: false;
    /** `timeout`, the meaning of an ICMP error, or the text of the error of sendto(2). */
    readonly reason: string;
    readonly from?: string;
    /** Of `fragmentation needed`: the next hop's MTU in bytes. */
    readonly mtu?: number;
  };

/**
 * Sends one echo request and waits for its reply or an ICMP error.
 * @throws {SyscallError} when there is no such namespace, or no right to a raw socket
 */
export async function ping(options: PingOptions): Promise<PingResult> {
  const fd = openSocket(options);
  const poller = new Poller(fd);
  try {
    return await exchange(fd, poller, options);
  } finally {
    await poller.close();
    closeFd(fd);
  }
}

function openSocket({ netnsPath, dontFragment, ttl, source }: PingOptions): number {
  const open = () => syscall("socket", AF_INET, SOCK_RAW_NONBLOCK_CLOEXEC, IPPROTO_ICMP);
  const fd = netnsPath === undefined ? open() : withNetns(netnsPath, open);
  const set = (option: number, value: number) => {
    const bytes = new Uint8Array(new Int32Array([value]).buffer);
    syscall("setsockopt", fd, IPPROTO_IP, option, bytes, 4);
  };
  try {
    if (dontFragment) set(IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    if (ttl !== undefined) set(IP_TTL, ttl);
    if (source !== undefined) syscall("bind", fd, sockaddr(source), 16);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}

async function exchange(fd: number, poller: Poller, options: PingOptions): Promise<PingResult> {
  const id = options.id ?? Math.floor(Math.random() * 65536);
  const request = echoRequest(id, options.size ?? 56);
  const start = performance.now();
  const deadline = start + (options.timeoutMs ?? 1000);
  const target = sockaddr(options.address);
  const sent = trySyscall("sendto", fd, request, request.length, 0, target, target.length);
  if (sent < 0) return { ok: false, reason: errnoText(-sent) };
  const buffer = new Uint8Array(65536);
  while (true) {
    const length = trySyscall("recvfrom", fd, buffer, buffer.length, 0, null, null);
    if (length > 0) {
      const result = parse(new DataView(buffer.buffer, 0, length), id, options.address, start);
      if (result) return result;
    } else {
      const left = deadline - performance.now();
      if (left <= 0) return { ok: false, reason: "timeout" };
      await poller.readable(left);
    }
  }
}

/** An echo request with sequence number 1. */
export function echoRequest(id: number, size: number): Uint8Array<ArrayBuffer> {
  const packet = Uint8Array.from({ length: 8 + size }, (_, i) => i & 255);
  const view = new DataView(packet.buffer);
  view.setUint16(0, ECHO << 8);
  view.setUint16(2, 0);
  view.setUint16(4, id);
  view.setUint16(6, 1);
  view.setUint16(2, checksum(packet));
  return packet;
}

/** The Internet checksum (RFC 1071). */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The outcome by a received IP packet; undefined when it is neither reply to nor error of our request. */
function parse(
  packet: DataView,
  id: number,
  target: string,
  start: number,
): PingResult | undefined {
  const header = (packet.getUint8(0) & 15) * 4;
  if (packet.byteLength < header + 8) return undefined;
  const from = addressAt(packet, 12);
  const type = packet.getUint8(header);
  const code = packet.getUint8(header + 1);
  if (type === ECHO_REPLY) {
    if (packet.getUint16(header + 4) !== id || from !== target) return undefined;
    return {
      ok: true,
      from,
      rttMs: performance.now() - start,
      bytes: packet.byteLength - header - 8,
    };
  }
  if (type !== UNREACHABLE && type !== TIME_EXCEEDED) return undefined;
  if (!isAbout(packet, header + 8, id, target)) return undefined;
  if (type === TIME_EXCEEDED) return { ok: false, reason: "time to live exceeded", from };
  const reason = UNREACHABLE_REASONS[code] ?? `unreachable, code ${code}`;
  return code === 4
    ? { ok: false, reason, from, mtu: packet.getUint16(header + 6) }
    : { ok: false, reason, from };
}

/** Whether the packet quoted in an ICMP error is our request. */
function isAbout(packet: DataView, at: number, id: number, target: string): boolean {
  if (packet.byteLength < at + 20) return false;
  const inner = at + (packet.getUint8(at) & 15) * 4;
  return packet.byteLength >= inner + 8 && packet.getUint8(at + 9) === IPPROTO_ICMP &&
    addressAt(packet, at + 16) === target && packet.getUint8(inner) === ECHO &&
    packet.getUint16(inner + 4) === id;
}

function addressAt(packet: DataView, offset: number): string {
  return [0, 1, 2, 3].map((i) => packet.getUint8(offset + i)).join(".");
}
