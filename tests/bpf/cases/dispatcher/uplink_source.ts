/** Sources that no packet from the wire may have. */
import { NODE_ADDR_FLAG, NODE_FLAG } from "../../../../src/bpf/layout.ts";
import { type Bytes, ethernet, ICMP, icmp, ipv4, PROTO, tcp, udp } from "../../support/packet.ts";
import {
  direct,
  external,
  GATEWAY,
  IN,
  into,
  NODE,
  OTHER_NODE,
  OUTSIDE,
} from "../../support/node.ts";
import { CLIENT, LOCAL, LOCAL_MAC, REMOTE, test, VIP } from "../../support/scene.ts";
import type { World } from "../../support/world.ts";

const program = "k8sd_from_uplink";
const { MASQUERADE, UPLINK_CHECK, TUNNELLED, PODS_HIDDEN } = NODE_FLAG;
const STRICT = MASQUERADE | UPLINK_CHECK | TUNNELLED | PODS_HIDDEN;
/** An address of the node beside its own, one of a load balancer. */
const SECOND = "192.0.2.99", BALANCER = "203.0.113.5";

function scene(w: World, flags = STRICT): void {
  w.configure({ flags });
  w.maps.node_addrs.set({ addr: SECOND }, { flags: NODE_ADDR_FLAG.LOCAL });
  external(w, "0.0.0.0:30080", [`${LOCAL}:8080`]);
  w.service(`${VIP}:53`, [`${LOCAL}:53`], { proto: PROTO.UDP, id: 2 });
  w.service(`${BALANCER}:80`, [`${LOCAL}:8080`], { id: 3 });
  external(w, `${BALANCER}:80`, [`${LOCAL}:8080`], { id: 3, addressEntry: true });
}

/** Packets of each kind. */
const packets = (src: string, dst: string, frame = IN): Bytes[] => [
  udp({ src: `${src}:53`, dst: `${dst}:7000`, ...frame }),
  tcp({ src: `${src}:53`, dst: `${dst}:7000`, flags: "S", ...frame }),
  tcp({ src: `${src}:53`, dst: `${dst}:7000`, flags: "A", ...frame }),
  icmp({ src, dst, type: ICMP.ECHO, rest: 1 << 16, ...frame }),
  ipv4({ src, dst }, PROTO.SCTP, new Uint8Array(20), frame),
];

const NEVER = ["127.0.0.1", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255"];

test("uplink_source() drops what is from no host, wherever it is to", (w) => {
  scene(w, UPLINK_CHECK);
  for (const src of [...NEVER, "0.0.0.0"]) {
    for (const dst of [LOCAL, NODE, GATEWAY, OUTSIDE]) {
      // Linux drops what it has no program for, of 0.0.0.0.
      for (const packet of packets(src, dst).slice(0, src === "0.0.0.0" ? 4 : 5)) {
        w.check({ program, packet, reason: "drop_uplink_source" });
      }
    }
  }
});

test("uplink_source() drops pods' addresses that come by the tunnel alone, and the node's own", (w) => {
  scene(w);
  for (const src of [CLIENT, LOCAL, GATEWAY, "10.1.0.77", REMOTE, NODE, SECOND, VIP, BALANCER]) {
    for (const packet of packets(src, LOCAL)) {
      w.check({ program, packet, reason: "drop_uplink_source" });
    }
  }
});

test("uplink_source() drops pods' addresses wherever they are to, where pods are masqueraded", (w) => {
  scene(w);
  for (const src of [CLIENT, LOCAL, GATEWAY, REMOTE]) {
    for (const dst of [`${NODE}:30080`, `${NODE}:22`, `${GATEWAY}:22`, `${BALANCER}:80`]) {
      for (
        const packet of [
          tcp({ src: `${src}:5000`, dst, flags: "S", ...IN }),
          udp({ src: `${src}:5000`, dst, ...IN }),
        ]
      ) w.check({ program, packet, reason: "drop_uplink_source" });
    }
  }
  for (const src of [CLIENT, LOCAL]) {
    for (const packet of packets(src, OUTSIDE)) {
      w.check({ program, packet, reason: "drop_uplink_source" });
    }
  }
});

test("uplink_source() lets no segment of a backend's address touch a session", (w) => {
  scene(w);
  const client = `${OUTSIDE}:50000`;
  for (const [backend, id] of [[`${LOCAL}:8080`, 1], [`${REMOTE}:8080`, 7]] as const) {
    external(w, "0.0.0.0:30080", [backend], { id });
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    w.run(tcp({ src: client, dst: `${NODE}:30080`, flags: "S", ...IN }), program);
    const [, { src, sport }] = w.forwardSessions()[0]!;
    const reply = { src: backend, dst: `${src}:${sport}` };
    const before = w.session(reply)!;
    for (const flags of ["A", "SA", "R", "FA"]) {
      w.check({
        program,
        packet: tcp({ ...reply, flags, seq: 5, ack: 0x12345678, ...IN }),
        reason: "drop_uplink_source",
      });
    }
    if (w.session(reply)!.ack !== before.ack || w.session(reply)!.tcp !== before.tcp) {
      throw new Error("the session has noted it");
    }
  }
});

test("uplink_source() drops a Service's answer that no pod's node has translated", (w) => {
  scene(w, UPLINK_CHECK);
  w.run(udp({ src: `${CLIENT}:40000`, dst: `${VIP}:53` }));
  w.check({
    program,
    packet: udp({ src: `${VIP}:53`, dst: `${CLIENT}:40000`, ...IN }),
    reason: "drop_uplink_source",
  });
});

test("uplink_source() drops fragments likewise", (w) => {
  scene(w);
  for (const src of [REMOTE, CLIENT, "127.0.0.1"]) {
    for (const [fragment, more] of [[0, true], [3, false]] as const) {
      w.check({
        program,
        packet: ipv4({ src, dst: LOCAL }, PROTO.UDP, new Uint8Array(24), IN, {
          offset: fragment * 8,
          more,
        }),
        reason: "drop_uplink_source",
      });
    }
  }
});

test("uplink_source() drops what a whole network gets in one frame, and lets DHCP and IGMP be", (w) => {
  scene(w);
  const all = { ...IN, ethDst: "ff:ff:ff:ff:ff:ff" };
  for (const src of [REMOTE, CLIENT, "127.0.0.1"]) {
    w.check({
      program,
      packet: udp({ src: `${src}:53`, dst: `${NODE}:7000`, ...all }),
      reason: "drop_uplink_source",
    });
  }
  const others = [
    udp({ src: "0.0.0.0:68", dst: "255.255.255.255:67", ...all }),
    ipv4({ src: "0.0.0.0", dst: "224.0.0.1" }, 2, new Uint8Array(8), all),
    ipv4({ src: OTHER_NODE, dst: "224.0.0.18" }, 112, new Uint8Array(8), all),
    udp({ src: `${NODE}:5353`, dst: "224.0.0.251:5353", ...all }),
    ethernet(0x0806, new Uint8Array(28), all),
  ];
  for (const packet of others) w.check({ program, packet, reason: "pass_other_host" });
});

test("uplink_source() takes clients outside, other nodes and their sources", (w) => {
  scene(w);
  for (const src of [OUTSIDE, OTHER_NODE]) {
    w.check({
      program,
      packet: udp({ src: `${src}:53`, dst: `${LOCAL}:7000`, ...IN }),
      out: udp({ src: `${src}:53`, dst: `${LOCAL}:7000`, ...into(LOCAL_MAC) }),
      reason: "direct_delivered",
    });
    w.check({
      program,
      packet: tcp({ src: `${src}:53`, dst: `${NODE}:22`, flags: "S", ...IN }),
      reason: "pass_no_service",
    });
  }
  // A machine whose address a tenant has written into a Service still reaches NodePorts.
  w.check({
    program,
    packet: tcp({ src: `${BALANCER}:50000`, dst: `${NODE}:30080`, flags: "S", ...IN }),
    out: tcp({ src: `${BALANCER}:50000`, dst: `${LOCAL}:8080`, flags: "S", ...into(LOCAL_MAC) }),
    reason: "forward_delivered",
  });
});

test("uplink_source() takes other nodes' pods where routing is direct, or not only by the tunnel", (w) => {
  const packet = udp({ src: `${REMOTE}:53`, dst: `${LOCAL}:7000`, ...IN });
  const out = udp({ src: `${REMOTE}:53`, dst: `${LOCAL}:7000`, ...into(LOCAL_MAC) });
  scene(w, STRICT & ~TUNNELLED);
  w.check({ program, packet, out, reason: "direct_delivered" });
  scene(w, STRICT);
  direct(w);
  w.check({ program, packet, out, reason: "direct_delivered" });
  // Its own pods' never come back.
  for (const src of [CLIENT, LOCAL]) {
    w.check({
      program,
      packet: udp({ src: `${src}:53`, dst: `${LOCAL}:7000`, ...IN }),
      reason: "drop_uplink_source",
    });
  }
});

test("uplink_source() leaves pods that are not masqueraded at the node's addresses to the stack and to Services", (w) => {
  scene(w, UPLINK_CHECK | TUNNELLED);
  // An external load balancer has sent an own pod's packet back.
  for (const dst of [`${NODE}:30080`, `${NODE}:22`, `${BALANCER}:80`]) {
    w.check({
      program,
      packet: tcp({ src: `${CLIENT}:5000`, dst, flags: "S", ...IN }),
      reason: "pass_local_source",
    });
  }
  w.check({
    program,
    packet: tcp({ src: `${REMOTE}:5000`, dst: `${NODE}:30080`, flags: "S", ...IN }),
    out: tcp({ src: `${REMOTE}:5000`, dst: `${LOCAL}:8080`, flags: "S", ...into(LOCAL_MAC) }),
    reason: "forward_delivered",
  });
  // But not to pods, nor on to the world.
  for (const [src, dst] of [[CLIENT, LOCAL], [REMOTE, LOCAL], [CLIENT, OUTSIDE]] as const) {
    for (const packet of packets(src, dst)) {
      w.check({ program, packet, reason: "drop_uplink_source" });
    }
  }
});

test("uplink_source() is off without the flags", (w) => {
  scene(w, MASQUERADE);
  w.check({
    program,
    packet: udp({ src: `${REMOTE}:53`, dst: `${LOCAL}:7000`, ...IN }),
    out: udp({ src: `${REMOTE}:53`, dst: `${LOCAL}:7000`, ...into(LOCAL_MAC) }),
    reason: "direct_delivered",
  });
  w.check({
    program,
    packet: udp({ src: `${CLIENT}:53`, dst: `${LOCAL}:7000`, ...IN }),
    reason: "pass_local_source",
  });
});

test("k8sd_from_overlay() takes no source of this node's pods", (w) => {
  scene(w);
  for (const src of [CLIENT, LOCAL, GATEWAY]) {
    for (const packet of packets(src, LOCAL).slice(0, 4)) {
      w.check({ program: "k8sd_from_overlay", packet, reason: "drop_tunnel_source" });
    }
  }
});
