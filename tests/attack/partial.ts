/**
 * Checksums that a pod leaves to a device (PACKET_VNET_HDR): the device, or the node's stack where it fragments, writes 16
 * bits wherever the pod says, behind the source check. See bpf/lib/partial.h.
 */
import {
  be,
  type Bytes,
  concat,
  fragments,
  ICMP,
  icmp,
  ipv4,
  PROTO,
  tcp,
  udp,
} from "../bpf/support/packet.ts";
import { arp, ipv6, type Make, type Scene } from "./frames.ts";

/** Where the sum begins, and where from there it is written: bytes from the frame's start. */
export type Csum = readonly [start: number, offset: number];

interface Partial {
  what: string;
  make: Make;
  csum: Csum;
}

const ETH = 14, IP = 34, L4_6 = 54;
const OPTIONS = new Uint8Array(24).fill(1);
const GRE = 47, IPIP = 4, IGMP = 2, ICMPV6 = 58;

/** Newer kernels refuse a sum that begins before this. */
const LOWEST = 20;

/** All places from `from` to below `to`, with the sum begun there, as early as may be, and in between. */
const places = (from: number, to: number): Csum[] =>
  Array.from({ length: to - from }, (_, i) => from + i).flatMap((at) =>
    [...new Set([at, LOWEST, Math.min(at, IP)])].map((start): Csum => [start, at - start])
  );

const udp6 = (payload: Bytes) =>
  concat(be([2, 4000], [2, 9], [2, 8 + payload.length], [2, 0]), payload);
const solicitation = (payload: Bytes) => concat(be([1, 135], [1, 0], [2, 0], [4, 0]), payload);

/** Written where a program reads. */
export function csumAttacks(scene: Scene): Partial[] {
  const { own, mac, gatewayMac, neighbour, far, gateway, outside } = scene;
  const frame = { ethSrc: mac, ethDst: gatewayMac };
  const list: Partial[] = [];
  const add = (what: string, where: Csum[], make: Make) =>
    list.push(...where.map((csum) => ({ what: `a sum at ${csum} of ${what}`, make, csum })));
  for (const dst of [neighbour, far, gateway, outside]) {
    const flow = { src: `${own}:4002`, dst: `${dst}:9`, ...frame };
    add(`UDP to ${dst}`, places(LOWEST, IP + 6), (payload) => udp({ ...flow, payload }));
    add(
      `a SYN to ${dst}`,
      places(LOWEST, IP + 16),
      (payload) => tcp({ ...flow, flags: "S", payload }),
    );
    add(
      `UDP with IP options to ${dst}`,
      places(IP, IP + 24 + 6),
      (payload) => udp({ ...flow, options: OPTIONS, payload }),
    );
    add(
      `a ping to ${dst}`,
      [[IP, 0], [IP, 2], [IP, 4], [IP, 12]],
      (payload) => icmp({ src: own, dst, type: ICMP.ECHO, payload, ...frame }),
    );
    for (const proto of [PROTO.SCTP, GRE]) {
      add(
        `protocol ${proto} to ${dst}`,
        places(LOWEST, IP + 4),
        (payload) => ipv4({ src: own, dst }, proto, concat(new Uint8Array(20), payload), frame),
      );
    }
    add(
      `IGMP to ${dst}`,
      [[LOWEST, 6], [IP, 0], [IP, 2], [IP, 4]],
      (payload) =>
        ipv4({ src: own, dst }, IGMP, concat(be([2, 0x1600], [2, 0], [4, 0]), payload), frame),
    );
    for (const part of [0, 1]) {
      add(`fragment ${part} to ${dst}`, [[LOWEST, 6], [IP, 0], [IP, 6]], (payload) => {
        const whole = concat(payload, new Uint8Array(90), payload);
        return fragments(udp({ ...flow, df: false, payload: whole }), 48)[part]!;
      });
    }
  }
  add(
    "ARP",
    [[LOWEST, 0], [LOWEST, 8], [28, 0], [28, 4], [42, 0]],
    (payload) => arp(scene, payload),
  );
  const to = { ethSrc: mac };
  add(
    "a neighbour solicitation",
    [[LOWEST, 2], [L4_6, 0], [L4_6, 2], [L4_6, 8]],
    (payload) => ipv6(ICMPV6, solicitation(payload), to),
  );
  add("UDP of IPv6", places(LOWEST, L4_6 + 6), (payload) => ipv6(PROTO.UDP, udp6(payload), to));
  return list;
}

/** Written at the transport header's own place for it, or in the payload. */
export function csumTwins(
  scene: Scene,
): (Partial & { at: "pod1-2" | "node1" | "pod2-1" | "outside" })[] {
  const { own, mac, gatewayMac, neighbour, far, gateway, outside } = scene;
  const frame = { ethSrc: mac, ethDst: gatewayMac };
  const everywhere = [["pod1-2", neighbour], ["node1", gateway], ["pod2-1", far], [
    "outside",
    outside,
  ]] as const;
  return everywhere.flatMap(([at, dst]) => {
    const flow = { src: `${own}:4003`, dst: `${dst}:9`, ...frame };
    const inner = (payload: Bytes) => tcp({ ...flow, flags: "A", payload }).slice(ETH);
    const list: { what: string; make: Make; csum: Csum }[] = [
      { what: "UDP", csum: [IP, 6], make: (payload) => udp({ ...flow, payload }) },
      { what: "a SYN", csum: [IP, 16], make: (payload) => tcp({ ...flow, flags: "S", payload }) },
      {
        what: "UDP with IP options",
        csum: [IP + 24, 6],
        make: (payload) => udp({ ...flow, options: OPTIONS, payload }),
      },
      {
        what: "a tunnel by UDP",
        csum: [IP + 8 + 8 + ETH + 20, 16],
        make: (payload) =>
          udp({ ...flow, payload: concat(new Uint8Array(8 + ETH), inner(payload)) }),
      },
    ];
    if (at !== "outside") { // what cannot be masqueraded
      list.push({
        what: "SCTP",
        csum: [IP, 8],
        make: (payload) =>
          ipv4({ src: own, dst }, PROTO.SCTP, concat(new Uint8Array(12), payload), frame),
      }, {
        what: "GRE with a checksum",
        csum: [IP, 4],
        make: (payload) =>
          ipv4({ src: own, dst }, GRE, concat(be([4, 0x80000800], [4, 0]), payload), frame),
      }, {
        what: "IPIP",
        csum: [IP + 20, 16],
        make: (payload) => ipv4({ src: own, dst }, IPIP, inner(payload), frame),
      });
    }
    if (at === "node1") {
      list.push({
        what: "UDP of IPv6",
        csum: [L4_6, 6],
        make: (payload) => ipv6(PROTO.UDP, udp6(payload), { ethSrc: mac }),
      });
    }
    return list.map((one) => ({
      ...one,
      what: `a sum at ${one.csum} of ${one.what} to ${at}`,
      at,
    }));
  });
}
