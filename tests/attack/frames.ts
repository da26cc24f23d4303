/** Frames that a pod sends in these tests: whose number is in each. */
import { fileURLToPath } from "node:url";
import { parseIpv4 } from "../../src/net/ipv4.ts";
import { macBytes } from "../../src/net/mac.ts";
import { be, type Bytes, concat, ethernet, type IpOptions } from "../bpf/support/packet.ts";

/** Sends and hears them: see there. */
export const FRAMES = fileURLToPath(new URL("frames.py", import.meta.url));

export const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** What is sent, with its number in it. */
export type Make = (payload: Bytes) => Bytes;

/** Addresses on both sides. */
export interface Scene {
  own: string;
  mac: string;
  neighbour: string;
  neighbourMac: string;
  far: string;
  gateway: string;
  gatewayMac: string;
  node: string;
  otherNode: string;
  otherGateway: string;
  outside: string;
}

export function arp(
  { own, mac, gateway }: Scene,
  payload: Bytes,
  { operation = 2, sender = own, senderMac = mac, target = gateway, ...frame }: {
    operation?: number;
    sender?: string;
    senderMac?: string;
    target?: string;
  } & IpOptions = {},
): Bytes {
  const packet = concat(
    be([2, 1], [2, 0x0800], [1, 6], [1, 4], [2, operation]),
    macBytes(senderMac),
    be([4, parseIpv4(sender)]),
    new Uint8Array(6),
    be([4, parseIpv4(target)]),
    payload,
  );
  return ethernet(0x0806, packet, { ethSrc: mac, ethDst: BROADCAST, ...frame });
}

export function ipv6(next: number, payload: Bytes, frame: IpOptions): Bytes {
  const header = be([4, 0x60000000], [2, payload.length], [1, next], [1, 255]);
  const addresses = Uint8Array.fromHex(`fe80${"00".repeat(13)}99ff02${"00".repeat(13)}01`);
  return ethernet(0x86dd, concat(header, addresses, payload), {
    ethDst: "33:33:00:00:00:01",
    ...frame,
  });
}
