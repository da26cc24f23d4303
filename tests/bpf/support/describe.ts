/** One line about a frame, for messages of tests that fail. Reads only as far as the frame goes. */
import { formatIpv4 } from "../../../src/net/ipv4.ts";
import { formatMac } from "../../../src/net/mac.ts";
import type { Bytes } from "./packet.ts";

const LETTERS = ["F", "S", "R", "P", "A"];

export function describe(frame: Bytes): string {
  if (frame.length < 34) return `${frame.length} bytes`;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const macs = `${formatMac(frame.slice(6, 12))} > ${formatMac(frame.slice(0, 6))}`;
  const type = view.getUint16(12);
  if (type !== 0x0800) return `${macs} type ${type.toString(16)} ${frame.length} bytes`;
  return `${macs} | ${describeIp(frame.slice(14))}`;
}

function describeIp(packet: Bytes): string {
  const view = new DataView(packet.buffer);
  const header = (packet[0]! & 0xf) * 4;
  const fragment = view.getUint16(6);
  const ip = [
    `${formatIpv4(view.getUint32(12))} > ${formatIpv4(view.getUint32(16))}`,
    `ttl ${packet[8]} tos ${packet[1]} id ${view.getUint16(4)} len ${view.getUint16(2)}`,
    header > 20 ? `options ${header - 20}` : "",
    fragment & 0x4000 ? "DF" : "",
    fragment & 0x3fff ? `fragment ${(fragment & 0x1fff) * 8}${fragment & 0x2000 ? "+" : ""}` : "",
    `check ${hex(view.getUint16(10))}`,
  ].filter((part) => part !== "").join(" ");
  return `${ip} | ${describeTransport(packet[9]!, packet.slice(header), (fragment & 0x1fff) > 0)}`;
}

function describeTransport(proto: number, bytes: Bytes, later: boolean): string {
  const view = new DataView(bytes.buffer);
  if (later || bytes.length < 8) return `proto ${proto} ${bytes.length} bytes`;
  const ports = `${view.getUint16(0)} > ${view.getUint16(2)}`;
  if (proto === 17) return `udp ${ports} len ${view.getUint16(4)} check ${hex(view.getUint16(6))}`;
  if (proto === 1) {
    const head = `icmp ${bytes[0]}/${bytes[1]} ${hex(view.getUint32(4))} check ${
      hex(view.getUint16(2))
    }`;
    const quotes = [3, 11, 12].includes(bytes[0]!) && bytes.length >= 36;
    return quotes ? `${head} [${describeIp(bytes.slice(8))}]` : `${head} ${bytes.length - 8} bytes`;
  }
  if (proto !== 6 || bytes.length < 20) return `proto ${proto} ${ports} ${bytes.length} bytes`;
  const flags = LETTERS.filter((_, bit) => bytes[13]! & (1 << bit)).join("");
  return `tcp ${ports} ${flags} seq ${view.getUint32(4)} ack ${view.getUint32(8)} window ${
    view.getUint16(14)
  } payload ${bytes.length - (bytes[12]! >> 4) * 4} check ${hex(view.getUint16(16))}`;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(4, "0")}`;
}
