/** A packet as `pcnk trace` sends it through the programs: an Ethernet frame with IPv4 and the beginning of a flow. */
import { formatIpv4, parseIpv4 } from "../net/ipv4.ts";
import { macBytes } from "../net/mac.ts";

/** A flow's first packet: TCP SYN, UDP datagram or ICMP echo. */
export interface Flow {
  protocol: "TCP" | "UDP" | "ICMP";
  src: string;
  dst: string;
  /** Of ICMP the identifier. */
  sport: number;
  /** Of ICMP 0. */
  dport: number;
}

export const PROTOCOL_NUMBER = { ICMP: 1, TCP: 6, UDP: 17 } as const;

const ETHERNET = 14;
const IPV4 = 20;
/** Of ICMP, RFC 792. */
const ECHO = 8;
const SYN = 2;

/** RFC 1071. */
function checksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i]! << 8) + (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The frame, with right checksums. MAC addresses as `02:00:00:00:00:01`. */
export function buildPacket(
  flow: Flow,
  mac: { src: string; dst: string },
): Uint8Array<ArrayBuffer> {
  const segment = buildSegment(flow);
  const frame = new Uint8Array(ETHERNET + IPV4 + segment.length);
  const view = new DataView(frame.buffer);
  frame.set(macBytes(mac.dst), 0);
  frame.set(macBytes(mac.src), 6);
  view.setUint16(12, 0x0800);
  view.setUint8(ETHERNET, 0x45);
  view.setUint16(ETHERNET + 2, IPV4 + segment.length);
  view.setUint16(ETHERNET + 6, 0x4000); // don't fragment
  view.setUint8(ETHERNET + 8, 64);
  view.setUint8(ETHERNET + 9, PROTOCOL_NUMBER[flow.protocol]);
  view.setUint32(ETHERNET + 12, parseIpv4(flow.src));
  view.setUint32(ETHERNET + 16, parseIpv4(flow.dst));
  view.setUint16(ETHERNET + 10, checksum(frame.subarray(ETHERNET, ETHERNET + IPV4)));
  frame.set(segment, ETHERNET + IPV4);
  return frame;
}

function buildSegment({ protocol, src, dst, sport, dport }: Flow): Uint8Array<ArrayBuffer> {
  const segment = new Uint8Array(protocol === "TCP" ? 20 : 8);
  const view = new DataView(segment.buffer);
  if (protocol === "ICMP") {
    view.setUint8(0, ECHO);
    view.setUint16(4, sport);
    view.setUint16(2, checksum(segment));
    return segment;
  }
  view.setUint16(0, sport);
  view.setUint16(2, dport);
  if (protocol === "TCP") {
    view.setUint32(4, 1);
    view.setUint8(12, 5 << 4);
    view.setUint8(13, SYN);
    view.setUint16(14, 64240);
  } else view.setUint16(4, segment.length);
  const pseudo = new Uint8Array(12); // RFC 9293, 3.1
  const head = new DataView(pseudo.buffer);
  head.setUint32(0, parseIpv4(src));
  head.setUint32(4, parseIpv4(dst));
  head.setUint8(9, PROTOCOL_NUMBER[protocol]);
  head.setUint16(10, segment.length);
  view.setUint16(protocol === "TCP" ? 16 : 6, checksum(pseudo, segment));
  return segment;
}

/** The flow of a frame that a program has changed; undefined for what is no IPv4 with ports or an echo. */
export function readPacket(frame: Uint8Array<ArrayBuffer>): Flow | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length < ETHERNET + IPV4 + 8 || view.getUint16(12) !== 0x0800) return undefined;
  const at = ETHERNET + (view.getUint8(ETHERNET) & 15) * 4;
  const number = view.getUint8(ETHERNET + 9);
  const src = formatIpv4(view.getUint32(ETHERNET + 12));
  const dst = formatIpv4(view.getUint32(ETHERNET + 16));
  if (number === 1) {
    return { protocol: "ICMP", src, dst, sport: view.getUint16(at + 4), dport: 0 };
  }
  if (number !== 6 && number !== 17) return undefined;
  const protocol = number === 6 ? "TCP" : "UDP";
  return { protocol, src, dst, sport: view.getUint16(at), dport: view.getUint16(at + 2) };
}

/** `10.0.0.1:80`, or the address alone of ICMP. */
export function formatEnd({ protocol }: Flow, address: string, port: number): string {
  return protocol === "ICMP" ? address : `${address}:${port}`;
}
