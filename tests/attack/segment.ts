/** The end of a pod's segment, from within: frames of the pod's own that are addressed to its neighbours past all programs. */
import { be, type Bytes, concat, ICMP, icmp, ipv4, tcp, udp } from "../bpf/support/packet.ts";
import { arp, BROADCAST, ipv6, type Make, type Scene } from "./frames.ts";

type Frame = [what: string, make: Make];

/** Its IP address leads there, and not its MAC address to the neighbour. */
export const TO_WORLD = "UDP to the world";
const GROUP = "01:00:5e:00:00:fb";
const NEXT_NONE = 59, ICMPV6 = 58;

/** What only its MAC address leads to a neighbour. "to all": multicast and broadcast, which `podMulticast` lets through. */
export function segmentAttacks(scene: Scene): Frame[] {
  const { own, mac, neighbour, neighbourMac, gateway, gatewayMac, outside } = scene;
  const groups = ["224.0.0.251", "239.1.2.3", "255.255.255.255", gateway.replace(/\d+$/, "255")];
  const to = (ethDst: string) => ({ ethSrc: mac, ethDst });
  const message = (type: number, payload: Bytes) =>
    concat(be([1, type], [1, 0], [2, 0], [4, 0]), payload);
  const anywhere = (ethDst: string): Frame[] => [
    ...groups.map((dst): Frame => [
      `UDP to ${dst} at ${ethDst}`,
      (payload) => udp({ src: `${own}:5353`, dst: `${dst}:5353`, payload, ...to(ethDst) }),
    ]),
    [
      `IPv6 at ${ethDst}`,
      (payload) => ipv6(NEXT_NONE, payload, to(ethDst)),
    ],
    ...[128, 135, 136].map((type): Frame => [
      `ICMPv6 ${type} at ${ethDst}`,
      (payload) => ipv6(ICMPV6, message(type, payload), to(ethDst)),
    ]),
    [`a reply by ARP at ${ethDst}`, (payload) => arp(scene, payload, to(ethDst))],
    [
      `an ARP request at ${ethDst}`,
      (payload) => arp(scene, payload, { operation: 1, ...to(ethDst) }),
    ],
    [
      `gratuitous ARP at ${ethDst}`,
      (payload) => arp(scene, payload, { operation: 1, target: own, ...to(ethDst) }),
    ],
  ];
  const straight = to(neighbourMac);
  return [
    ...[BROADCAST, GROUP, "33:33:00:00:00:01"].flatMap(anywhere)
      .map(([what, make]): Frame => [`to all: ${what}`, make]),
    // A bridge gives it to multicast routers alone.
    ...[GROUP, neighbourMac].map((ethDst): Frame => [
      `IGMP at ${ethDst}`,
      (payload) => ipv4({ src: own, dst: "224.0.0.22" }, 2, payload, to(ethDst)),
    ]),
    ...anywhere(neighbourMac),
    [
      TO_WORLD,
      (payload) => udp({ src: `${own}:1`, dst: `${outside}:2`, payload, ...straight }),
    ],
    [
      "a SYN to the gateway",
      (payload) => tcp({ src: `${own}:1`, dst: `${gateway}:2`, flags: "S", payload, ...straight }),
    ],
    [
      "a ping of an address without a pod",
      (payload) => icmp({ src: own, dst: "10.244.1.250", type: ICMP.ECHO, payload, ...straight }),
    ],
    ["GRE to the gateway", (payload) => ipv4({ src: own, dst: gateway }, 47, payload, straight)],
    [
      "an ARP request for the neighbour",
      (payload) => arp(scene, payload, { operation: 1, target: neighbour }),
    ],
    [
      "IPv6 to the gateway's MAC address",
      (payload) => ipv6(NEXT_NONE, payload, to(gatewayMac)),
    ],
  ];
}

/** By its IP address all of it arrives, whatever MAC address it is sent to. */
export function segmentTwins({ own, mac, neighbour, neighbourMac, gatewayMac }: Scene): Frame[] {
  return [neighbourMac, gatewayMac, BROADCAST, "02:00:00:00:00:99"].flatMap((ethDst): Frame[] => {
    const frame = { ethSrc: mac, ethDst };
    return [
      ...[132, 47, 50, 4].map((proto): Frame => [
        `protocol ${proto} to the neighbour at ${ethDst}`,
        (payload) => ipv4({ src: own, dst: neighbour }, proto, payload, frame),
      ]),
      [
        `UDP to the neighbour at ${ethDst}`,
        (payload) => udp({ src: `${own}:1`, dst: `${neighbour}:2`, payload, ...frame }),
      ],
      [
        `an ICMP error to the neighbour at ${ethDst}`,
        (payload) => {
          const about = udp({ src: `${neighbour}:1`, dst: `${own}:2` }).slice(14);
          return icmp({
            src: own,
            dst: neighbour,
            type: ICMP.UNREACHABLE,
            payload: concat(about, payload),
            ...frame,
          });
        },
      ],
    ];
  });
}
