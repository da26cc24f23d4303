/** What the dispatcher has nothing to say about passes untouched. */
import { ethernet, ipv4, pattern, PROTO, tcp, text, udp } from "../../support/packet.ts";
import {
  external,
  IN,
  NODE,
  OTHER_NODE,
  OUTSIDE,
  OVERLAY_PORT,
  ROUTER_MAC,
} from "../../support/node.ts";
import { LOCAL, REMOTE, test } from "../../support/scene.ts";
import type { Program } from "../../support/world.ts";
import type { Reason } from "../../../../src/bpf/reasons.ts";

const PROGRAMS: Program[] = ["k8sd_from_uplink", "k8sd_to_uplink", "k8sd_from_overlay"];

const flow = { src: `${OUTSIDE}:5000`, dst: `${NODE}:30080` };
const syn = tcp({ ...flow, flags: "S", ...IN });
const frames: [what: string, frame: Uint8Array<ArrayBuffer>, reason: Reason][] = [
  ["ARP", ethernet(0x0806, pattern(28), IN), "pass_arp"],
  ["IPv6", ethernet(0x86dd, pattern(40), IN), "pass_ipv6"],
  ["a VLAN's frame", ethernet(0x8100, pattern(40), IN), "pass_vlan"],
  ["LLDP", ethernet(0x88cc, pattern(40), IN), "pass_ethertype"],
  ["SCTP", ipv4(flow, PROTO.SCTP, pattern(40), IN), "pass_protocol"],
  ["half a TCP header", ipv4(flow, PROTO.TCP, pattern(12), IN), "pass_truncated"],
  [
    "IP in a wrong version",
    new Uint8Array([...syn.slice(0, 14), 0x65, ...syn.slice(15)]),
    "pass_malformed",
  ],
];

for (const program of PROGRAMS) {
  for (const [what, packet, reason] of frames) {
    test(`${program}() passes ${what}`, (w) => {
      external(w, "0.0.0.0:30080", [`${LOCAL}:8080`]);
      w.check({ program, packet, reason, events: [] });
    });
  }
}

test("k8sd_from_uplink() passes frames for other hosts", (w) => {
  external(w, "0.0.0.0:30080", [`${LOCAL}:8080`]);
  for (const ethDst of ["02:00:00:00:00:77", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"]) {
    w.check({
      program: "k8sd_from_uplink",
      packet: tcp({ ...flow, flags: "S", ethSrc: ROUTER_MAC, ethDst }),
      reason: "pass_other_host",
    });
  }
});

test("is_tunnel() lets the overlay's own packets pass both ways", (w) => {
  external(w, `0.0.0.0:${OVERLAY_PORT}`, [`${LOCAL}:8080`], { proto: PROTO.UDP });
  const there = { src: `${NODE}:33333`, dst: `${OTHER_NODE}:${OVERLAY_PORT}` };
  const here = { src: `${OTHER_NODE}:33333`, dst: `${NODE}:${OVERLAY_PORT}` };
  w.check({
    program: "k8sd_to_uplink",
    packet: udp({ ...there, payload: text("VXLAN"), checksum: "none" }),
    reason: "pass_tunnel",
  });
  w.check({
    program: "k8sd_from_uplink",
    packet: udp({ ...here, payload: text("VXLAN"), checksum: "none", ...IN }),
    reason: "pass_tunnel",
  });
  // Another protocol's port of that number is no tunnel, nor any where there is no overlay.
  w.check({
    program: "k8sd_from_uplink",
    packet: tcp({ ...here, flags: "S", ...IN }),
    reason: "pass_no_service",
  });
  w.configure({ overlay_port: 0 });
  w.check({
    program: "k8sd_to_uplink",
    packet: udp({ ...there, payload: text("VXLAN"), checksum: "none" }),
    reason: "pass_no_session",
  });
});

test("k8sd_from_uplink() leaves the node's own traffic to the stack", (w) => {
  external(w, "0.0.0.0:30080", [`${LOCAL}:8080`]);
  const packets = [
    tcp({ src: `${OUTSIDE}:5000`, dst: `${NODE}:22`, flags: "S", ...IN }),
    tcp({ src: `${OUTSIDE}:443`, dst: `${NODE}:40000`, flags: "SA", ...IN }),
    udp({ src: `${OUTSIDE}:53`, dst: `${NODE}:40000`, ...IN }),
    tcp({ src: `${OUTSIDE}:5000`, dst: `${REMOTE}:80`, flags: "S", ...IN }),
  ];
  for (const packet of packets) {
    w.check({ program: "k8sd_from_uplink", packet, reason: "pass_no_service" });
  }
});
