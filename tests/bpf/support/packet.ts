/**
 * Builds Ethernet frames for packet tests. Checksums are computed from scratch over the finished packet, in another way
 * than the programs' incremental one, so a frame built here is what a right translation must equal byte for byte.
 */
import { parseIpv4 } from "../../../src/net/ipv4.ts";
import { macBytes } from "../../../src/net/mac.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

export const PROTO = { ICMP: 1, TCP: 6, UDP: 17, SCTP: 132 } as const;
export const ICMP = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8, TIME_EXCEEDED: 11 } as const;
/** Codes of ICMP.UNREACHABLE. */
export const CODE = { PORT: 3, FRAGMENTATION_NEEDED: 4 } as const;

/** What every IPv4 packet may set. */
export interface IpOptions {
  ethSrc?: string;
  ethDst?: string;
  ttl?: number;
  tos?: number;
  id?: number;
  /** Don't fragment. Default true. */
  df?: boolean;
  /** IP options, a multiple of 4 bytes. */
  options?: Bytes;
  /** Ethernet padding after the packet. */
  padding?: number;
}

/** An endpoint as "10.0.0.1:80". */
export type Addr = string;

/** `src` and `dst` as "10.0.0.1:80". */
interface Flow {
  src: Addr;
  dst: Addr;
}

/** One's complement sum of 16-bit words, a last odd byte padded with zero. */
function onesSum(...parts: Bytes[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i]! << 8) + (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function checksum(...parts: Bytes[]): number {
  return ~onesSum(...parts) & 0xffff;
}

export function concat(...parts: Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Big-endian numbers of the given widths (bytes), e.g. be([2, 80], [4, 1]). */
export function be(...numbers: [width: 1 | 2 | 4, value: number][]): Bytes {
  const out = new Uint8Array(numbers.reduce((sum, [width]) => sum + width, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [width, value] of numbers) {
    if (width === 1) view.setUint8(at, value);
    else if (width === 2) view.setUint16(at, value);
    else view.setUint32(at, value);
    at += width;
  }
  return out;
}

export function patch(bytes: Bytes, at: number, part: Uint8Array): Bytes {
  const out = bytes.slice();
  out.set(part, at);
  return out;
}

/** `length` bytes that tell their place. */
export function pattern(length: number): Bytes {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + 3) & 0xff);
}

export function text(value: string): Bytes {
  return new TextEncoder().encode(value);
}

function split(addr: Addr): { ip: string; port: number } {
  const [ip = "", port = "0"] = addr.split(":");
  return { ip, port: Number(port) };
}

/** The client's MAC address, and that of its gateway: what a pod's frame to a service carries. No byte is alike. */
export const CLIENT_MAC = "02:12:13:14:15:16";
export const GATEWAY_MAC = "06:22:23:24:25:26";

/** An Ethernet frame. */
export function ethernet(type: number, payload: Bytes, options: IpOptions = {}): Bytes {
  return concat(
    macBytes(options.ethDst ?? GATEWAY_MAC),
    macBytes(options.ethSrc ?? CLIENT_MAC),
    be([2, type]),
    payload,
    new Uint8Array(options.padding ?? 0),
  );
}

/** A frame with an IPv4 packet. */
export function ipv4(
  flow: Flow,
  proto: number,
  payload: Bytes,
  options: IpOptions = {},
  fragment: { offset: number; more: boolean } = { offset: 0, more: false },
): Bytes {
  const ipOptions = options.options ?? new Uint8Array();
  const length = 20 + ipOptions.length + payload.length;
  const flags = (fragment.more ? 0x2000 : 0) | ((options.df ?? true) ? 0x4000 : 0);
  const header = concat(
    be(
      [1, 0x40 | (5 + ipOptions.length / 4)],
      [1, options.tos ?? 0],
      [2, length],
      [2, options.id ?? 0x1234],
      [2, flags | (fragment.offset / 8)],
      [1, options.ttl ?? 64],
      [1, proto],
      [2, 0],
      [4, parseIpv4(split(flow.src).ip)],
      [4, parseIpv4(split(flow.dst).ip)],
    ),
    ipOptions,
  );
  const checked = patch(header, 10, be([2, checksum(header)]));
  return ethernet(0x0800, concat(checked, payload), options);
}

function pseudoHeader(flow: Flow, proto: number, length: number): Bytes {
  const addresses = [flow.src, flow.dst].map((end) => parseIpv4(split(end).ip));
  return be([4, addresses[0]!], [4, addresses[1]!], [2, proto], [2, length]);
}

/** Checksum of a TCP or UDP segment with its pseudo header. */
function transportChecksum(flow: Flow, proto: number, segment: Bytes): number {
  return checksum(pseudoHeader(flow, proto, segment.length), segment);
}

/** What a sender leaves in the checksum of a segment of this length, when a device will add the rest (CHECKSUM_PARTIAL). */
export function pseudoSum(flow: Flow, proto: number, length: number): number {
  return onesSum(pseudoHeader(flow, proto, length));
}

const FLAGS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16 };

/** TCP: `flags` as letters, e.g. "SA". Both ends begin with 1000, and have acknowledged each other's SYN. */
export interface TcpOptions extends IpOptions, Flow {
  flags: string;
  seq?: number;
  ack?: number;
  window?: number;
  payload?: Bytes;
  /** TCP options, a multiple of 4 bytes. */
  tcpOptions?: Bytes;
}

export function tcp(options: TcpOptions): Bytes {
  const { tcpOptions = new Uint8Array(), payload = new Uint8Array() } = options;
  const flags = [...options.flags].reduce((sum, letter) => sum | FLAGS[letter]!, 0);
  const segment = concat(
    be(
      [2, split(options.src).port],
      [2, split(options.dst).port],
      [4, options.seq ?? (flags & FLAGS.S! ? 1000 : 1001)],
      [4, options.ack ?? (flags & FLAGS.A! ? 1001 : 0)],
      [1, (5 + tcpOptions.length / 4) << 4],
      [1, flags],
      [2, options.window ?? 64240],
      [4, 0],
    ),
    tcpOptions,
    payload,
  );
  const sum = transportChecksum(options, PROTO.TCP, segment);
  return ipv4(options, PROTO.TCP, patch(segment, 16, be([2, sum])), options);
}

/** UDP: `checksum: "none"` leaves it out (0). */
interface UdpOptions extends IpOptions, Flow {
  payload?: Bytes;
  checksum?: "none";
}

export function udp(options: UdpOptions): Bytes {
  const payload = options.payload ?? text("hello");
  const datagram = concat(
    be([2, split(options.src).port], [2, split(options.dst).port], [2, 8 + payload.length], [2, 0]),
    payload,
  );
  const sum = options.checksum ? 0 : transportChecksum(options, PROTO.UDP, datagram) || 0xffff;
  return ipv4(options, PROTO.UDP, patch(datagram, 6, be([2, sum])), options);
}

/** ICMP: `rest` is the second word of its header. */
interface IcmpOptions extends IpOptions, Flow {
  type: number;
  code?: number;
  rest?: number;
  payload?: Bytes;
}

export function icmp(options: IcmpOptions): Bytes {
  const message = concat(
    be([1, options.type], [1, options.code ?? 0], [2, 0], [4, options.rest ?? 0]),
    options.payload ?? new Uint8Array(),
  );
  return ipv4(options, PROTO.ICMP, patch(message, 2, be([2, checksum(message)])), options);
}

/** An ICMP error about `about`, a frame, of whose packet `quote` bytes are quoted (default: its headers). */
export function icmpError(
  options: Omit<IcmpOptions, "payload"> & { about: Bytes; quote?: number },
): Bytes {
  const packet = options.about.slice(14);
  const header = (packet[0]! & 0xf) * 4;
  return icmp({ ...options, payload: packet.slice(0, options.quote ?? header + 8) });
}

/** Cuts a frame into IP fragments with at most `size` bytes of payload each, a multiple of 8. */
export function fragments(frame: Bytes, size: number): Bytes[] {
  const header = (frame[14]! & 0xf) * 4;
  const payload = frame.slice(14 + header);
  const out: Bytes[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const part = payload.slice(at, at + size);
    const more = at + size < payload.length;
    const ip = concat(frame.slice(14, 24), be([2, 0]), frame.slice(26, 14 + header));
    const view = new DataView(ip.buffer);
    view.setUint16(2, header + part.length);
    view.setUint16(6, (more ? 0x2000 : 0) | (at / 8));
    view.setUint16(10, checksum(ip));
    out.push(concat(frame.slice(0, 14), ip, part));
  }
  return out;
}

interface ArpOptions extends IpOptions {
  /** Default 1, a request. */
  operation?: number;
  sender: string;
  senderMac: string;
  /** Default: of none. */
  targetMac?: string;
  target: string;
}

/** A broadcast by default. */
export function arp(options: ArpOptions): Bytes {
  const { operation = 1, sender, senderMac, targetMac = "00:00:00:00:00:00", target } = options;
  const packet = concat(
    be([2, 1], [2, 0x0800], [1, 6], [1, 4], [2, operation]),
    macBytes(senderMac),
    be([4, parseIpv4(sender)]),
    macBytes(targetMac),
    be([4, parseIpv4(target)]),
  );
  return ethernet(0x0806, packet, {
    ethSrc: senderMac,
    ethDst: "ff:ff:ff:ff:ff:ff",
    ...options,
  });
}
