/** What cannot be masqueraded does not leave the node with a pod's address. */
import {
  be,
  type Bytes,
  fragments,
  ICMP,
  icmp,
  icmpError,
  ipv4,
  pattern,
  PROTO,
  tcp,
  udp,
} from "../../support/packet.ts";
import { IN, NODE, OUTSIDE } from "../../support/node.ts";
import { CLIENT, REMOTE, test } from "../../support/scene.ts";
import type { Reason } from "../../../../src/bpf/reasons.ts";

const program = "k8sd_to_uplink";
const GRE = 47, ESP = 50, IPIP = 4;

/** A packet that has no masquerade, by source and destination; why it passes elsewhere, and is dropped here. */
const packets: [what: string, make: (src: string, dst: string) => Bytes, Reason, Reason][] = [
  [
    "a fragment whose first part was not seen",
    (src, dst) =>
      fragments(
        udp({ src: `${src}:1`, dst: `${dst}:2`, payload: pattern(3000), df: false }),
        1400,
      )[1]!,
    "pass_fragment",
    "drop_fragment",
  ],
  ...[13, 17, ICMP.ECHO_REPLY].map((type): typeof packets[number] => [
    `ICMP of type ${type}`,
    (src, dst) => icmp({ src, dst, type, rest: 1, payload: pattern(12) }),
    "pass_icmp",
    "drop_icmp",
  ]),
  [
    "an ICMP error about an unknown flow",
    (src, dst) =>
      icmpError({
        src,
        dst,
        type: ICMP.UNREACHABLE,
        code: 3,
        about: udp({ src: `${dst}:1`, dst: `${src}:2` }),
      }),
    "pass_icmp_error",
    "drop_icmp",
  ],
  ...[PROTO.SCTP, GRE, ESP, IPIP].map((proto): typeof packets[number] => [
    `a packet of protocol ${proto}`,
    (src, dst) => ipv4({ src, dst }, proto, pattern(40)),
    "pass_protocol",
    "drop_protocol",
  ]),
  [
    "half a TCP header",
    (src, dst) => ipv4({ src, dst }, PROTO.TCP, be([2, 40000], [2, 443])),
    "pass_truncated",
    "drop_protocol",
  ],
];

for (const [what, make, passed, dropped] of packets) {
  test(`pass_unmasqueraded() keeps ${what} of a pod in`, (w) => {
    const packet = make(CLIENT, OUTSIDE);
    w.check({ program, packet, reason: dropped, events: [] });
  });

  test(`pass_unmasqueraded() lets ${what} go to where pods are known, and of others`, (w) => {
    // A later fragment and an echo reply look like those of a flow.
    const known = /^pass_(icmp|fragment)$/.test(passed) ? "pass_not_masqueraded" : passed;
    const elsewhere = passed === "pass_icmp" ? "pass_no_session" : passed;
    w.check({ program, packet: make(CLIENT, REMOTE), reason: known, events: [] });
    for (const src of [NODE, REMOTE]) {
      const packet = make(src, OUTSIDE);
      w.check({ program, packet, reason: elsewhere, events: [] });
    }
    w.configure({ flags: 0 });
    w.check({ program, packet: make(CLIENT, OUTSIDE), reason: known, events: [] });
  });
}

test("masquerade() takes no other ICMP for a packet of an echo with the identifier 0", (w) => {
  w.run(icmp({ src: CLIENT, dst: OUTSIDE, type: ICMP.ECHO, rest: 0 }), program);
  for (const type of [9, 10, 13, 15, 17, 30, 42]) {
    w.check({
      program,
      packet: icmp({ src: CLIENT, dst: OUTSIDE, type, payload: pattern(12) }),
      reason: "drop_icmp",
    });
    // Nor does the pod get what a machine outside sends the node.
    w.check({
      program: "k8sd_from_uplink",
      packet: icmp({ src: OUTSIDE, dst: NODE, type, payload: pattern(12), ...IN }),
      reason: "pass_no_service",
    });
  }
});

test("pass_unmasqueraded() lets a pod's error about a flow go that the world began with it", (w) => {
  const request = udp({ src: `${OUTSIDE}:5000`, dst: `${CLIENT}:53`, ...IN });
  w.run(request, "k8sd_from_uplink");
  w.check({
    program,
    packet: icmpError({
      src: CLIENT,
      dst: OUTSIDE,
      type: ICMP.UNREACHABLE,
      code: 3,
      about: request,
    }),
    reason: "icmp_error_routed",
  });
});

test("pass_unmasqueraded() does not keep the overlay's own packets in", (w) => {
  const packet = tcp({ src: `${NODE}:1`, dst: `${OUTSIDE}:443`, flags: "S" });
  w.check({ program, packet, reason: "pass_no_session" });
});
