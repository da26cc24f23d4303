/** What a pod may send: its own addresses, and nothing that only routers and the node say. Each with what must go on. */
import { NODE_FLAG, POD_DEVICE_FLAG, REMOTE_MODE } from "../../../src/bpf/layout.ts";
import type { Reason } from "../../../src/bpf/reasons.ts";
import { NODE, node, OTHER_NODE, OUTSIDE, OVERLAY_PORT } from "../support/node.ts";
import {
  arp as arpOf,
  be,
  type Bytes,
  concat,
  ethernet,
  fragments,
  ICMP,
  icmp,
  icmpError,
  type IpOptions,
  ipv4,
  patch,
  pattern,
  PROTO,
  tcp,
  udp,
} from "../support/packet.ts";
import {
  CLIENT,
  CLIENT_MAC,
  FROM_LOCAL,
  GATEWAY,
  INTO_LOCAL,
  LOCAL,
  LOCAL_MAC,
  REMOTE,
  test,
  VIP,
} from "../support/scene.ts";
import type { World } from "../support/world.ts";

/** Another pod's device: that of the packets is `UPLINK`. */
const ELSEWHERE = 4711;
/** A second address of the client. */
const SECOND = "10.1.0.20";
const NONE = "0.0.0.0";
const dhcp = { ethDst: "ff:ff:ff:ff:ff:ff", df: false };

/** The client's device is the one that packets come from, and its neighbour has another one. */
function checked(w: World): void {
  node(w);
  w.configure({ flags: NODE_FLAG.MASQUERADE | NODE_FLAG.SOURCE_CHECK });
  w.endpoint(LOCAL, LOCAL_MAC, { gateway: GATEWAY, ifindex: ELSEWHERE });
  w.endpoint(SECOND, CLIENT_MAC, { gateway: GATEWAY });
  w.podDevice(CLIENT_MAC);
  w.remote("10.2.0.0/24", {
    ...{ via: OTHER_NODE, ifindex: 0, vni: 1, mtu: 0, mode: REMOTE_MODE.ROUTED, mac: LOCAL_MAC },
  });
  w.maps.vteps.set({ addr: OTHER_NODE }, {
    ...{ pod_cidr: "10.2.0.0", pod_mask: "255.255.255.0", node_addr: OTHER_NODE },
  });
  w.service(`${VIP}:80`, [`${LOCAL}:8080`]);
}

/** Of the client, for its gateway. */
const arp = (change: Partial<Parameters<typeof arpOf>[0]> = {}) =>
  arpOf({ sender: CLIENT, senderMac: CLIENT_MAC, target: GATEWAY, ethSrc: CLIENT_MAC, ...change });

/** An IPv6 packet whose first header is `next`. */
function ipv6(next: number, payload: Bytes, frame: IpOptions = {}): Bytes {
  const addresses = new Uint8Array(32);
  const header = be([4, 0x60000000], [2, payload.length], [1, next], [1, 255]);
  return ethernet(0x86dd, concat(header, addresses, payload), frame);
}

/** An extension header of 8 bytes before `next`. */
const extension = (next: number, payload: Bytes) =>
  concat(be([1, next], [1, 0]), new Uint8Array(6), payload);
const icmpv6 = (type: number) => concat(be([1, type], [1, 0]), new Uint8Array(30));
const HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, ICMPV6 = 58, DESTINATION = 60;
const dhcpv6 = (from: number, to: number) => concat(be([2, from], [2, to]), new Uint8Array(12));

const syn = (src: string, frame: IpOptions = {}, dst = `${OUTSIDE}:80`) =>
  tcp({ src: `${src}:40000`, dst, flags: "S", ...frame });
const datagram = (src: string, frame: IpOptions = {}, dst = `${OUTSIDE}:53`) =>
  udp({ src: `${src}:40000`, dst, ...frame });
const ping = (src: string, frame: IpOptions = {}) =>
  icmp({ src, dst: OUTSIDE, type: ICMP.ECHO, rest: 0x10001, ...frame });

const refused: [what: string, packet: Bytes, reason: Reason][] = [
  ...[
    LOCAL,
    REMOTE,
    GATEWAY,
    NODE,
    OTHER_NODE,
    VIP,
    OUTSIDE,
    "10.1.0.99",
    "127.0.0.1",
    NONE,
    "224.0.0.1",
    "255.255.255.255",
    "10.1.255.255",
    "169.254.42.1",
  ].flatMap((src) =>
    [syn(src), datagram(src), ping(src), syn(src, {}, `${VIP}:80`), syn(src, {}, `${LOCAL}:80`)]
      .map((
        packet,
        i,
      ) =>
        [`${src} as its source (${i})`, packet, "drop_source_address"] as [string, Bytes, Reason]
      )
  ),
  [
    "another protocol as a neighbour",
    ipv4({ src: LOCAL, dst: OUTSIDE }, PROTO.SCTP, pattern(32)),
    "drop_source_address",
  ],
  [
    "a fragment as a neighbour",
    ipv4({ src: LOCAL, dst: OUTSIDE }, PROTO.UDP, pattern(32), { df: false }, {
      offset: 64,
      more: true,
    }),
    "drop_source_address",
  ],
  [
    "an ICMP error as a neighbour",
    icmp({ src: LOCAL, dst: OUTSIDE, type: ICMP.UNREACHABLE, payload: pattern(32) }),
    "drop_source_address",
  ],
  ["with its neighbour's MAC address", syn(CLIENT, { ethSrc: LOCAL_MAC }), "drop_source_mac"],
  [
    "with an unknown MAC address",
    datagram(CLIENT, { ethSrc: "02:00:00:00:00:99" }),
    "drop_source_mac",
  ],
  [
    "IPv6 with its neighbour's MAC address",
    ipv6(ICMPV6, icmpv6(135), { ethSrc: LOCAL_MAC }),
    "drop_source_mac",
  ],
  ["ARP as its gateway", arp({ operation: 2, sender: GATEWAY }), "drop_arp_sender"],
  [
    "ARP as its neighbour",
    arp({ operation: 2, sender: LOCAL, target: GATEWAY }),
    "drop_arp_sender",
  ],
  ["ARP with its neighbour's MAC address inside", arp({ senderMac: LOCAL_MAC }), "drop_arp_sender"],
  ["ARP with its neighbour's MAC address outside", arp({ ethSrc: LOCAL_MAC }), "drop_arp_sender"],
  ["a probe for its neighbour's address", arp({ sender: NONE, target: LOCAL }), "drop_arp_sender"],
  ["ARP cut short", arp().slice(0, 40), "drop_arp_sender"],
  ["ARP of another protocol", patch(arp(), 16, be([2, 0x86dd])), "drop_arp_sender"],
  ["ARP of long addresses", patch(arp(), 18, be([1, 8])), "drop_arp_sender"],
  ["a router advertisement", ipv6(ICMPV6, icmpv6(134)), "drop_router_message"],
  ["a redirect", ipv6(ICMPV6, icmpv6(137)), "drop_router_message"],
  ...[HOP_BY_HOP, ROUTING, DESTINATION].map((next): [string, Bytes, Reason] => [
    `a router advertisement behind a header ${next}`,
    ipv6(next, extension(ICMPV6, icmpv6(134))),
    "drop_router_message",
  ]),
  [
    "a router advertisement behind four headers",
    ipv6(0, extension(60, extension(60, extension(43, extension(ICMPV6, icmpv6(134)))))),
    "drop_router_message",
  ],
  [
    "a router advertisement in a first fragment",
    ipv6(FRAGMENT, concat(be([1, ICMPV6], [1, 0], [2, 1], [4, 7]), icmpv6(134))),
    "drop_router_message",
  ],
  [
    "more headers than any host",
    ipv6(0, extension(60, extension(60, extension(60, extension(60, extension(60, icmpv6(134))))))),
    "drop_malformed",
  ],
  [
    "a first fragment without its header",
    ipv6(FRAGMENT, be([1, ICMPV6], [1, 0], [2, 1], [4, 7])),
    "drop_malformed",
  ],
  ["a DHCPv6 server's reply", ipv6(PROTO.UDP, dhcpv6(547, 546)), "drop_router_message"],
  ["DHCPv6 to a client", ipv6(PROTO.UDP, dhcpv6(9, 546)), "drop_router_message"],
  [
    "DHCP to a client, of another port",
    udp({ src: `${CLIENT}:9`, dst: `${LOCAL}:68` }),
    "drop_router_message",
  ],
  ...[ICMP.UNREACHABLE, 4, 11, 12].flatMap((type) =>
    [
      datagram(LOCAL, {}, `${OUTSIDE}:9`),
      datagram(LOCAL, {}, `${VIP}:80`),
      syn(NODE, {}, `${OTHER_NODE}:22`),
      icmp({ src: NODE, dst: OUTSIDE, type: 0, rest: 7 }),
      syn(CLIENT, {}, `${LOCAL}:80`),
    ].flatMap((about, i) =>
      [LOCAL, NODE, REMOTE, OUTSIDE].map((dst): [string, Bytes, Reason] => [
        `an ICMP error of type ${type} to ${dst} about a packet of others (${i})`,
        icmpError({ src: CLIENT, dst, type, code: 4, rest: 68, about }),
        "drop_router_message",
      ])
    )
  ),
  [
    "an ICMP error without a quotation",
    icmp({ src: CLIENT, dst: NODE, type: ICMP.UNREACHABLE, payload: pattern(12) }),
    "drop_router_message",
  ],
  [
    "an ICMP error in fragments",
    fragments(
      icmpError({
        src: CLIENT,
        dst: NODE,
        type: ICMP.UNREACHABLE,
        df: false,
        about: syn(LOCAL, {}, `${CLIENT}:80`),
      }),
      16,
    )[0]!,
    "drop_router_message",
  ],
  ["an ICMP redirect", icmp({ src: CLIENT, dst: LOCAL, type: 5 }), "drop_router_message"],
  [
    "an ICMP router advertisement",
    icmp({ src: CLIENT, dst: LOCAL, type: 9 }),
    "drop_router_message",
  ],
  [
    "a DHCP server's reply",
    udp({ src: `${CLIENT}:67`, dst: "255.255.255.255:68", ...dhcp }),
    "drop_router_message",
  ],
  [
    "a DHCP request as its neighbour",
    udp({ src: `${NONE}:68`, dst: "255.255.255.255:67", ...dhcp, ethSrc: LOCAL_MAC }),
    "drop_source_mac",
  ],
  [
    "a datagram without a source to a neighbour",
    udp({ src: `${NONE}:68`, dst: `${LOCAL}:67` }),
    "drop_source_address",
  ],
  [
    "a VLAN tag",
    ethernet(0x8100, concat(be([2, 0], [2, 0x800]), syn(LOCAL).slice(14))),
    "drop_ethertype",
  ],
  [
    "two VLAN tags",
    ethernet(0x88a8, concat(be([2, 0], [2, 0x8100], [2, 0], [2, 0x800]), syn(LOCAL).slice(14))),
    "drop_ethertype",
  ],
  [
    "a spanning tree's frame",
    ethernet(0x0026, pattern(38), { ethDst: "01:80:c2:00:00:00" }),
    "drop_ethertype",
  ],
  ["LLDP", ethernet(0x88cc, pattern(50), { ethDst: "01:80:c2:00:00:0e" }), "drop_ethertype"],
  ["RARP", ethernet(0x8035, pattern(28)), "drop_ethertype"],
  ["an IP length beyond the frame", patch(syn(LOCAL), 16, be([2, 2000])), "drop_malformed"],
  ["IP version 5", patch(syn(LOCAL), 14, be([1, 0x55])), "drop_malformed"],
  [
    "a TCP header cut short",
    ipv4({ src: CLIENT, dst: OUTSIDE }, PROTO.TCP, pattern(19)),
    "drop_malformed",
  ],
  ["to a loopback address", syn(CLIENT, {}, "127.0.0.1:10248"), "drop_loopback"],
  [
    "SCTP to a loopback address",
    ipv4({ src: CLIENT, dst: "127.1.2.3" }, PROTO.SCTP, pattern(32)),
    "drop_loopback",
  ],
  ["to its node's tunnel", datagram(CLIENT, {}, `${NODE}:${OVERLAY_PORT}`), "drop_tunnel"],
  [
    "to another node's tunnel",
    datagram(CLIENT, {}, `${OTHER_NODE}:${OVERLAY_PORT}`),
    "drop_tunnel",
  ],
  // Its node's sockets are reached by these, too, or those of another node.
  ...[
    ...[GATEWAY, "10.1.0.0", "10.1.0.255", "10.2.0.0", "10.2.0.1", "10.2.0.255"],
    ...["224.0.0.1", "255.255.255.255"],
  ].map((dst): [string, Bytes, Reason] => [
    `to a tunnel at ${dst}`,
    datagram(CLIENT, {}, `${dst}:${OVERLAY_PORT}`),
    "drop_tunnel",
  ]),
  ["to a tunnel by IPv6", ipv6(PROTO.UDP, dhcpv6(40000, OVERLAY_PORT)), "drop_tunnel"],
];

for (const [what, packet, reason] of refused) {
  test(`lbrp_from_pod() drops what a pod sends: ${what}`, (w) => {
    checked(w);
    w.check({ packet, reason, events: [] });
  });
}

test("lbrp_from_pod() lets pods have tunnels between them by the same port", (w) => {
  checked(w);
  const make = (dst: string, frame: IpOptions = {}) =>
    datagram(CLIENT, frame, `${dst}:${OVERLAY_PORT}`);
  w.check({ packet: make(LOCAL), out: make(LOCAL, INTO_LOCAL), reason: "direct_delivered" });
  w.check({ packet: make(REMOTE), reason: "pass_no_service" });
});

test("lbrp_from_pod() lets a pod send from each of its addresses", (w) => {
  checked(w);
  w.check({
    packet: tcp({ src: `${CLIENT}:40000`, dst: `${VIP}:80`, flags: "S" }),
    out: tcp({ src: `${CLIENT}:40000`, dst: `${LOCAL}:8080`, flags: "S", ...INTO_LOCAL }),
    reason: "forward_delivered",
  });
  for (const src of [CLIENT, SECOND]) {
    const make = (frame: IpOptions = {}) => datagram(src, frame, `${LOCAL}:53`);
    w.check({ packet: make(), out: make(INTO_LOCAL), reason: "direct_delivered" });
  }
});

test("lbrp_from_pod() lets a backend reply, and a pod reach itself by a service", (w) => {
  checked(w);
  w.endpoint(LOCAL, LOCAL_MAC, { gateway: GATEWAY });
  w.run(tcp({ src: `${CLIENT}:40000`, dst: `${VIP}:80`, flags: "S" }));
  w.check({
    packet: tcp({ src: `${LOCAL}:8080`, dst: `${CLIENT}:40000`, flags: "SA", ...FROM_LOCAL }),
    out: tcp({
      src: `${VIP}:80`,
      dst: `${CLIENT}:40000`,
      flags: "SA",
      ethSrc: FROM_LOCAL.ethDst!,
      ethDst: CLIENT_MAC,
    }),
    reason: "reply_delivered",
  });
});

const passed: [what: string, packet: Bytes, reason: Reason][] = [
  ["ARP for its gateway", arp(), "pass_arp"],
  ["gratuitous ARP", arp({ operation: 2, target: CLIENT }), "pass_arp"],
  ["ARP of its second address", arp({ sender: SECOND }), "pass_arp"],
  ["a probe for its own address (RFC 5227)", arp({ sender: NONE, target: CLIENT }), "pass_arp"],
  [
    "an ICMP error about a packet to it",
    icmpError({
      src: CLIENT,
      dst: NODE,
      type: ICMP.UNREACHABLE,
      about: syn(NODE, {}, `${CLIENT}:9`),
    }),
    "pass_icmp_error",
  ],
  [
    "an ICMP error about a packet to its second address",
    icmpError({
      src: CLIENT,
      dst: NODE,
      type: ICMP.UNREACHABLE,
      about: syn(NODE, {}, `${SECOND}:9`),
    }),
    "pass_icmp_error",
  ],
  ["a neighbour solicitation", ipv6(ICMPV6, icmpv6(135)), "pass_ipv6"],
  ["a neighbour advertisement", ipv6(ICMPV6, icmpv6(136)), "pass_ipv6"],
  ["a router solicitation", ipv6(ICMPV6, icmpv6(133)), "pass_ipv6"],
  ["a multicast listener's report", ipv6(HOP_BY_HOP, extension(ICMPV6, icmpv6(143))), "pass_ipv6"],
  ["a DHCPv6 client's request", ipv6(PROTO.UDP, dhcpv6(546, 547)), "pass_ipv6"],
  [
    "a later fragment of IPv6",
    ipv6(FRAGMENT, concat(be([1, ICMPV6], [1, 0], [2, 0x80], [4, 7]), icmpv6(134))),
    "pass_ipv6",
  ],
  [
    "a DHCP request without an address",
    udp({ src: `${NONE}:68`, dst: "255.255.255.255:67", ...dhcp }),
    "pass_no_service",
  ],
  [
    "another protocol",
    ipv4({ src: CLIENT, dst: OUTSIDE }, PROTO.SCTP, pattern(32)),
    "pass_protocol",
  ],
  [
    "to the tunnel's port elsewhere",
    datagram(CLIENT, {}, `${OUTSIDE}:${OVERLAY_PORT}`),
    "pass_no_service",
  ],
  [
    "TCP to a number that is the tunnel's",
    syn(CLIENT, {}, `${NODE}:${OVERLAY_PORT}`),
    "pass_no_service",
  ],
];

for (const [what, packet, reason] of passed) {
  test(`lbrp_from_pod() lets a pod send ${what}`, (w) => {
    checked(w);
    w.check({ packet, reason });
  });
}

test("lbrp_from_pod() checks no pod that is exempt, but for the node's own", (w) => {
  checked(w);
  w.podDevice(CLIENT_MAC, POD_DEVICE_FLAG.UNCHECKED);
  for (const [what, packet, reason] of refused) {
    if (["drop_loopback", "drop_tunnel"].includes(reason)) continue;
    if (reason === "drop_router_message" && !what.startsWith("an ICMP")) continue;
    const before = w.counter(reason);
    w.run(packet);
    if (w.counter(reason) !== before) throw new Error(`${reason} of an exempt pod`);
  }
  w.check({ packet: datagram(OUTSIDE, {}, `${NODE}:${OVERLAY_PORT}`), reason: "drop_tunnel" });
  w.check({ packet: syn(OUTSIDE, {}, "127.0.0.1:80"), reason: "drop_loopback" });
});

test("lbrp_from_pod() checks nothing where the setting is off", (w) => {
  checked(w);
  w.configure({ flags: NODE_FLAG.MASQUERADE });
  w.check({ packet: datagram("10.1.0.99"), reason: "pass_no_service" });
  w.check({ packet: arp({ sender: GATEWAY, operation: 2 }), reason: "pass_arp" });
});
