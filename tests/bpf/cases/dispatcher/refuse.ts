/** Refusals to clients outside. */
import assert from "node:assert/strict";
import { CODE, ICMP, icmp, icmpError, PROTO, tcp, udp } from "../../support/packet.ts";
import { BACK, external, IN, NODE, OUTSIDE } from "../../support/node.ts";
import { test } from "../../support/scene.ts";

const program = "k8sd_from_uplink";
const client = `${OUTSIDE}:50000`;
const VIP = "203.0.113.9";

test("reject() resets a client's connection to a service without backends", (w) => {
  external(w, "0.0.0.0:30080", []);
  w.check({
    program,
    packet: tcp({ src: client, dst: `${NODE}:30080`, flags: "S", seq: 7, ...IN }),
    out: tcp({
      src: `${NODE}:30080`,
      dst: client,
      flags: "RA",
      ack: 8,
      seq: 0,
      window: 0,
      id: 0,
      ...BACK,
    }),
    reason: "rejected_no_backend",
    events: [],
  });
  assert.deepEqual(w.sessions(), []);
});

test("reject() replies with port unreachable where a datagram has no backend", (w) => {
  external(w, `${VIP}:53`, [], { proto: PROTO.UDP, addressEntry: true });
  for (const [port, reason] of [[53, "rejected_no_backend"], [54, "rejected_no_port"]] as const) {
    const about = udp({ src: client, dst: `${VIP}:${port}`, ...IN });
    const answer = { src: VIP, dst: OUTSIDE, type: ICMP.UNREACHABLE, code: CODE.PORT };
    w.check({
      program,
      packet: about,
      out: icmpError({ ...answer, about, quote: about.length - 14, tos: 0xc0, id: 0, ...BACK }),
      reason,
      events: [],
    });
  }
});

test("address_inbound() leaves other ports of the node itself to the stack", (w) => {
  external(w, "0.0.0.0:30080", []);
  external(w, `${NODE}:80`, [], { addressEntry: true });
  w.check({
    program,
    packet: tcp({ src: client, dst: `${NODE}:22`, flags: "S", ...IN }),
    reason: "pass_no_service",
  });
  w.check({
    program,
    packet: icmp({ src: OUTSIDE, dst: NODE, type: ICMP.ECHO, rest: 1, ...IN }),
    reason: "pass_no_service",
  });
});

test("echo_inbound() answers pings of an address that only services have", (w) => {
  external(w, `${VIP}:80`, [], { addressEntry: true });
  w.check({
    program,
    packet: icmp({ src: OUTSIDE, dst: VIP, type: ICMP.ECHO, rest: 0x00070001, ...IN }),
    out: icmp({ src: VIP, dst: OUTSIDE, type: ICMP.ECHO_REPLY, rest: 0x00070001, ...BACK }),
    reason: "echo_replied",
  });
  for (const type of [ICMP.ECHO_REPLY, 13]) {
    w.check({
      program,
      packet: icmp({ src: OUTSIDE, dst: VIP, type, rest: 1, ...IN }),
      reason: "pass_icmp",
    });
  }
});

test("reject() never answers a reset or who must not be answered", (w) => {
  external(w, "0.0.0.0:30080", []);
  external(w, `${VIP}:80`, [], { addressEntry: true });
  const reset = { program, reason: "drop_rst_no_session", events: [] } as const;
  for (const dst of [`${NODE}:30080`, `${VIP}:81`]) {
    w.check({ ...reset, packet: tcp({ src: client, dst, flags: "R", ...IN }) });
  }
  for (const src of ["127.0.0.1:5", "0.0.0.0:5", "224.0.0.1:5", "255.255.255.255:5"]) {
    w.check({
      program,
      packet: tcp({ src, dst: `${NODE}:30080`, flags: "S", ...IN }),
      reason: "drop_invalid_source",
    });
  }
});

test("icmp_allowed() limits ICMP errors that leave the node, and no resets", (w) => {
  external(w, "0.0.0.0:30080", []);
  external(w, "0.0.0.0:30053", [], { proto: PROTO.UDP });
  const names = ["rejected_no_backend", "drop_rate_limited"] as const;
  const [refused, dropped] = names.map((name) => w.counter(name)) as [bigint, bigint];
  const datagram = udp({ src: client, dst: `${NODE}:30053`, ...IN });
  const begun = performance.now();
  for (let i = 0; i < 400; i++) w.run(datagram, program);
  const allowed = 50 + Math.ceil(performance.now() - begun) + 1;
  const answers = Number(w.counter("rejected_no_backend") - refused);
  assert(answers >= 1 && answers <= allowed, `${answers} answers, ${allowed} allowed`);
  assert.equal(Number(w.counter("drop_rate_limited") - dropped), 400 - answers);
  const before = w.counter("rejected_no_backend");
  for (let i = 0; i < 400; i++) {
    w.run(tcp({ src: client, dst: `${NODE}:30080`, flags: "S", ...IN }), program);
  }
  assert.equal(w.counter("rejected_no_backend") - before, 400n);
});
