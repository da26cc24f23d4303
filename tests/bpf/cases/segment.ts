/**
 * The end of a pod's segment: what it sends to a pod of this node is handed over by its IP address, whatever it is and
 * whatever MAC address it is sent to; a neighbour's MAC address comes from the program; the rest is the node's.
 */
import assert from "node:assert/strict";
import { NODE_FLAG, POD_DEVICE_FLAG, RATE_FLAG } from "../../../src/bpf/layout.ts";
import { node, OUTSIDE } from "../support/node.ts";
import {
  arp,
  type Bytes,
  CODE,
  ethernet,
  fragments,
  ICMP,
  icmp,
  icmpError,
  type IpOptions,
  ipv4,
  pattern,
  PROTO,
  tcp,
  udp,
} from "../support/packet.ts";
import { CLIENT, CLIENT_MAC, GATEWAY, LOCAL, LOCAL_MAC, test, VIP } from "../support/scene.ts";
import { HOST_MAC, UPLINK, type World } from "../support/world.ts";

/** The neighbour's device: that of the packets is the client's. */
const ELSEWHERE = 4711;
const OTHER_MAC = "02:00:00:00:00:99";
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const GROUP = "01:00:5e:00:00:fb";

function neighbours(w: World, flags = 0): void {
  node(w);
  w.configure({ flags: NODE_FLAG.SOURCE_CHECK | flags });
  w.podDevice(CLIENT_MAC);
  w.endpoint(LOCAL, LOCAL_MAC, { gateway: GATEWAY, ifindex: ELSEWHERE });
}

const asks = { sender: CLIENT, senderMac: CLIENT_MAC, target: LOCAL };
/** The neighbour's reply, as it would send it. */
const REPLY = arp({
  operation: 2,
  sender: LOCAL,
  senderMac: LOCAL_MAC,
  target: CLIENT,
  targetMac: CLIENT_MAC,
  ethDst: CLIENT_MAC,
});

test("arp_reply() replies for a neighbour, whatever MAC address is asked", (w) => {
  neighbours(w);
  for (const ethDst of [BROADCAST, LOCAL_MAC, OTHER_MAC]) {
    w.check({ packet: arp({ ...asks, ethDst }), out: REPLY, reason: "replied_arp" });
  }
  w.check({ packet: arp({ ...asks, targetMac: OTHER_MAC }), out: REPLY, reason: "replied_arp" });
});

test("arp_reply() leaves to the node what is for the node, or about the pod itself", (w) => {
  neighbours(w);
  w.endpoint("10.1.0.20", CLIENT_MAC);
  for (
    const packet of [
      arp({ ...asks, target: GATEWAY }),
      arp({ ...asks, target: "10.1.0.77" }),
      arp({ ...asks, target: CLIENT }),
      arp({ ...asks, target: "10.1.0.20" }),
      arp({ ...asks, sender: "0.0.0.0", target: CLIENT }),
      arp({ ...asks, operation: 2, target: GATEWAY, ethDst: OTHER_MAC }),
      arp({ ...asks, operation: 2 }),
    ]
  ) w.check({ packet, reason: "pass_arp" });
});

test("arp_address() has the node ask the pod in question alone", (w) => {
  const asked = { sender: GATEWAY, senderMac: OTHER_MAC, target: LOCAL };
  for (const ethDst of [BROADCAST, OTHER_MAC]) {
    const packet = arp({ ...asked, ethDst });
    const run = w.run(packet, "lbrp_to_pod");
    same(run.packet, arp({ ...asked, ethDst: LOCAL_MAC }));
  }
  w.check({
    program: "lbrp_to_pod",
    packet: arp({ ...asked, target: "10.1.0.77" }),
    reason: "pass_arp",
  });
});

function same(found: Bytes, wanted: Bytes): void {
  if (found.toHex() !== wanted.toHex()) throw new Error(`${found.toHex()}, not ${wanted.toHex()}`);
}

/** What a pod sends to another one beside new flows of TCP, UDP and pings. */
const kinds: [what: string, make: (frame: IpOptions) => Bytes[]][] = [
  ["fragments", (frame) => cut(frame)],
  [
    "fragments of a ping",
    (frame) =>
      fragments(
        icmp({
          src: CLIENT,
          dst: LOCAL,
          type: ICMP.ECHO,
          rest: 7,
          payload: pattern(3000),
          df: false,
          ...frame,
        }),
        1480,
      ),
  ],
  ...[PROTO.SCTP, 47, 50, 4, 41, 89, 2, 255].map((
    proto,
  ): [string, (frame: IpOptions) => Bytes[]] => [
    `protocol ${proto}`,
    (frame) => [ipv4({ src: CLIENT, dst: LOCAL }, proto, pattern(40), frame)],
  ]),
  [
    "a fragment of SCTP",
    (frame) => [
      ipv4({ src: CLIENT, dst: LOCAL }, PROTO.SCTP, pattern(40), { df: false, ...frame }, {
        offset: 64,
        more: false,
      }),
    ],
  ],
  [
    "an ICMP error about no flow",
    (frame) => [
      icmpError({
        src: CLIENT,
        dst: LOCAL,
        type: ICMP.UNREACHABLE,
        about: udp({ src: `${LOCAL}:1`, dst: `${CLIENT}:2` }),
        ...frame,
      }),
    ],
  ],
  [
    "an ICMP timestamp",
    (frame) => [icmp({ src: CLIENT, dst: LOCAL, type: 13, payload: pattern(12), ...frame })],
  ],
  [
    "IP options",
    (frame) => [
      udp({
        src: `${CLIENT}:1`,
        dst: `${LOCAL}:2`,
        options: new Uint8Array([1, 1, 1, 0]),
        ...frame,
      }),
    ],
  ],
  ["UDP", (frame) => [udp({ src: `${CLIENT}:1`, dst: `${LOCAL}:2`, ...frame })]],
  ["a SYN", (frame) => [tcp({ src: `${CLIENT}:1`, dst: `${LOCAL}:2`, flags: "S", ...frame })]],
];

function cut(frame: IpOptions): Bytes[] {
  const whole = { src: `${CLIENT}:1`, dst: `${LOCAL}:2`, payload: pattern(4000), df: false };
  return fragments(udp({ ...whole, ...frame }), 1480);
}

for (const [what, make] of kinds) {
  test(`lbrp_from_pod() delivers to a neighbour: ${what}`, (w) => {
    neighbours(w);
    for (const ethDst of [OTHER_MAC, BROADCAST, LOCAL_MAC]) {
      const out = make({ ethSrc: ethDst === LOCAL_MAC ? CLIENT_MAC : ethDst, ethDst: LOCAL_MAC });
      for (const [i, packet] of make({ ethDst }).entries()) {
        w.check({ packet, out: out[i]!, reason: "direct_delivered" });
      }
    }
  });

  test(`frame_address() addresses by IP what a pod with a limited rate sends: ${what}`, (w) => {
    neighbours(w);
    w.rate(RATE_FLAG.EGRESS);
    for (const ethDst of [OTHER_MAC, BROADCAST, HOST_MAC]) {
      for (const packet of make({ ethDst })) {
        const { packet: out, verdict } = w.run(packet);
        same(out.slice(0, 6) as Bytes, Uint8Array.fromHex(LOCAL_MAC.replaceAll(":", "")));
        same(out.slice(6) as Bytes, packet.slice(6) as Bytes);
        if (verdict !== -1) throw new Error(`verdict ${verdict}`);
      }
    }
  });
}

/** What passes. */
const toOthers = (ethDst: string): Bytes[] => [
  tcp({ src: `${CLIENT}:1`, dst: `${GATEWAY}:2`, flags: "S", ethDst }),
  ipv4({ src: CLIENT, dst: OUTSIDE }, PROTO.SCTP, pattern(40), { ethDst }),
  udp({ src: `${CLIENT}:1`, dst: "224.0.0.251:5353", ethDst }),
  udp({ src: "0.0.0.0:68", dst: "255.255.255.255:67", df: false, ethDst }),
  arp({ ...asks, target: GATEWAY, ethDst }),
  ethernet(0x86dd, ip6(), { ethDst }),
];

function ip6(): Bytes {
  const packet = new Uint8Array(48);
  packet.set([0x60, 0, 0, 0, 0, 8, 59, 255]);
  return packet;
}

test("to_bridge() leaves frames as they are where ports are isolated, or the pod is exempt", (w) => {
  neighbours(w);
  for (const ethDst of [LOCAL_MAC, OTHER_MAC, BROADCAST, GROUP]) {
    for (const packet of toOthers(ethDst)) same(w.run(packet).packet, packet);
  }
  w.podDevice(CLIENT_MAC, POD_DEVICE_FLAG.UNCHECKED);
  w.rate(RATE_FLAG.EGRESS);
  for (const packet of toOthers(LOCAL_MAC)) same(w.run(packet).packet, packet);
});

test("to_bridge() addresses membership reports to the node, whose bridge keeps none", (w) => {
  const igmp = (ethDst: string) =>
    ipv4({ src: CLIENT, dst: "225.1.2.3" }, 2, pattern(8), {
      ethDst,
      options: new Uint8Array([0x94, 4, 0, 0]),
    });
  const mld = (ethDst: string) => {
    const packet = new Uint8Array(56); // hop-by-hop options, then ICMPv6 143
    packet.set([0x60, 0, 0, 0, 0, 16, 0, 1]);
    packet[40] = 58;
    packet[48] = 143;
    return ethernet(0x86dd, packet, { ethDst });
  };
  for (const flag of [0, NODE_FLAG.POD_MULTICAST]) {
    neighbours(w, flag);
    for (const make of [igmp, mld]) {
      for (const group of ["01:00:5e:01:02:03", "33:33:00:00:00:16"]) {
        same(w.run(make(group)).packet, make(flag ? group : HOST_MAC));
      }
    }
  }
});

test("frame_address() addresses to the node what a pod with a limited rate sends to no pod", (w) => {
  neighbours(w);
  for (const limited of [UPLINK, 0]) { // the pod, or any of the node
    w.rate(RATE_FLAG.EGRESS, limited);
    for (const ethDst of [LOCAL_MAC, OTHER_MAC, BROADCAST, GROUP]) {
      for (const [i, packet] of toOthers(ethDst).entries()) {
        same(w.run(packet).packet, toOthers(HOST_MAC)[i]!);
      }
    }
    w.rate(0, limited);
  }
});

test("to_bridge() lets multicast and broadcast reach the bridge with podMulticast, no unicast", (w) => {
  neighbours(w, NODE_FLAG.POD_MULTICAST);
  for (const ethDst of [BROADCAST, GROUP]) {
    for (const packet of toOthers(ethDst)) same(w.run(packet).packet, packet);
  }
  for (const ethDst of [LOCAL_MAC, OTHER_MAC]) {
    for (const [i, packet] of toOthers(ethDst).entries()) {
      same(w.run(packet).packet, toOthers(HOST_MAC)[i]!);
    }
  }
});

test("frame_address() addresses a translated packet of a pod with a limited rate by its backend", (w) => {
  neighbours(w);
  w.service(`${VIP}:80`, [`${LOCAL}:8080`]);
  w.rate(RATE_FLAG.EGRESS);
  w.check({
    packet: tcp({ src: `${CLIENT}:40000`, dst: `${VIP}:80`, flags: "S", ethDst: OTHER_MAC }),
    out: tcp({ src: `${CLIENT}:40000`, dst: `${LOCAL}:8080`, flags: "S", ethDst: LOCAL_MAC }),
    reason: "forward_routed",
  });
});

test("icmp_error() leaves the error of a pod with a limited rate to the bridge", (w) => {
  neighbours(w);
  const client = `${CLIENT}:40000`, vip = `${VIP}:80`, backend = `${LOCAL}:8080`;
  w.service(vip, [backend], { proto: PROTO.UDP });
  w.run(udp({ src: client, dst: vip }));
  w.rate(RATE_FLAG.EGRESS);
  const error = { src: CLIENT, type: ICMP.UNREACHABLE, code: CODE.PORT };
  w.check({
    packet: icmpError({ ...error, dst: VIP, about: udp({ src: vip, dst: client }) }),
    out: icmpError({
      ...{ ...error, dst: LOCAL, about: udp({ src: backend, dst: client }) },
      ethDst: LOCAL_MAC,
    }),
    reason: "icmp_error_routed",
  });
});

test("to_bridge() addresses fragments to the node, which another MAC address would not reach", (w) => {
  neighbours(w);
  const datagram = { src: `${CLIENT}:1`, dst: `${GATEWAY}:2`, payload: pattern(3000), df: false };
  for (const ethDst of [OTHER_MAC, LOCAL_MAC, HOST_MAC, BROADCAST]) {
    const wanted = fragments(udp({ ...datagram, ethDst: HOST_MAC }), 1400);
    for (const [i, packet] of fragments(udp({ ...datagram, ethDst }), 1400).entries()) {
      w.check({ packet, out: wanted[i]!, reason: "pass_fragment" });
    }
  }
});

test("later_from_pod() drops what follows a first fragment that a service refused", (w) => {
  neighbours(w);
  w.service(`${VIP}:80`, [], { proto: PROTO.UDP });
  w.service(`${VIP}:81`, [`${LOCAL}:8080`], { id: 2 });
  const big = { src: `${CLIENT}:5000`, payload: pattern(3000), df: false };
  const refused = [
    [udp({ ...big, dst: `${VIP}:80` }), "rejected_no_backend"],
    [tcp({ ...big, dst: `${VIP}:81`, flags: "R" }), "drop_rst_no_session"],
  ] as const;
  for (const [packet, reason] of refused) {
    const [first, ...later] = fragments(packet, 1400);
    const before = w.counter(reason);
    w.run(first!);
    assert.equal(w.counter(reason), before + 1n);
    for (const packet of later) w.check({ packet, reason: "drop_fragment_overlap" });
  }
});
