/** Flows that outside seems to have begun with a pod's own address, and the pod's own flows. */
import assert from "node:assert/strict";
import { SCOPE } from "../../../../src/bpf/layout.ts";
import { ICMP, icmp, PROTO, tcp, udp } from "../../support/packet.ts";
import { external, IN, into, NODE, OTHER_NODE, OUTSIDE } from "../../support/node.ts";
import { CLIENT, CLIENT_MAC, INTO_LOCAL, LOCAL, test } from "../../support/scene.ts";
import type { World } from "../../support/world.ts";

const out = "k8sd_to_uplink", back = "k8sd_from_uplink";
const MASQUERADE = 1;
const pod = `${CLIENT}:40000`, world = `${OUTSIDE}:443`;

/** What the world sees of a pod's flow. */
function seen(w: World, proto: number = PROTO.TCP, src = pod, dst = world): string {
  const session = w.session({ src, dst, proto, zone: MASQUERADE });
  assert(session, "no session");
  return `${session.src}:${session.sport}`;
}

test("exempt_yields() masquerades what a pod begins, whatever was forged before", (w) => {
  const echo = (src: string, dst: string, type: number, frame = {}) =>
    icmp({ src, dst, type, rest: 9 << 16, ...frame });
  const { ECHO, ECHO_REPLY } = ICMP;
  // Forged with the server's address; what the pod begins; its answer from there.
  const tcpFrom = (src: string, dst: string) => (flags: string, frame = {}) =>
    tcp({ src, dst, flags, ack: 0x12345678, ...frame });
  const there = tcpFrom(pod, world), forge = tcpFrom(world, pod);
  for (const forged of [["S"], ["S", "A"], ["S", "A", "PA"]]) {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    for (const flags of forged) w.run(forge(flags, IN), back);
    assert.equal(w.maps.assured.keys().length, 0);
    for (const _ of ["first", "again"]) {
      const { verdict } = w.run(there("S"), out);
      assert.notEqual(verdict, 2);
      assert.match(seen(w), new RegExp(`^${NODE}:2\\d{4}$`));
    }
    for (const flags of forged) w.run(forge(flags, IN), back);
    w.check({
      program: back,
      packet: tcp({ src: world, dst: seen(w), flags: "SA", ...IN }),
      out: tcp({ src: world, dst: pod, flags: "SA", ...into(CLIENT_MAC) }),
      reason: "reply_delivered",
    });
  }

  for (const type of [ECHO, ECHO_REPLY]) {
    w.run(echo(OUTSIDE, CLIENT, type, IN), back);
    w.check({
      program: out,
      packet: echo(CLIENT, OUTSIDE, ECHO_REPLY),
      reason: type === ECHO ? "pass_not_masqueraded" : "drop_icmp",
    });
    w.run(echo(CLIENT, OUTSIDE, ECHO), out);
    assert.match(seen(w, PROTO.ICMP, `${CLIENT}:9`, `${OUTSIDE}:0`), new RegExp(`^${NODE}:`));
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
  }

  // From a server's port to a client's: the pod has not answered, it asks.
  w.run(udp({ src: world, dst: pod, ...IN }), back);
  assert.deepEqual(w.sessions(), []);
});

test("exempt_yields() believes for five seconds that a datagram was a request, where ports do not say so", (w) => {
  for (const [inside, outside] of [[40000, 50000], [123, 123], [500, 4500]]) {
    const [src, dst] = [`${CLIENT}:${inside}`, `${OUTSIDE}:${outside}`];
    const flow = { src, dst, proto: PROTO.UDP, zone: MASQUERADE };
    const old = () => w.edit(flow, { created: w.session(flow)!.created - 6_000_000_000n });
    const passes = () =>
      w.check({ program: out, packet: udp({ src, dst }), reason: "pass_not_masqueraded" });
    w.run(udp({ src: dst, dst: src, ...IN }), back);
    passes();
    old();
    passes(); // it has answered
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    w.run(udp({ src: dst, dst: src, ...IN }), back);
    old();
    w.run(udp({ src: dst, dst: src, ...IN }), back);
    w.run(udp({ src, dst }), out);
    assert.match(seen(w, PROTO.UDP, src, dst), new RegExp(`^${NODE}:`));
    w.run(udp({ src: dst, dst: src, ...IN }), back);
    assert.match(seen(w, PROTO.UDP, src, dst), new RegExp(`^${NODE}:`));
    w.check({
      program: back,
      packet: udp({ src: dst, dst: seen(w, PROTO.UDP, src, dst), ...IN }),
      out: udp({ src: dst, dst: src, ...into(CLIENT_MAC) }),
      reason: "reply_delivered",
    });
  }
  // A client's datagram may wait for its answer as long as its flow lives.
  const [src, dst] = [`${CLIENT}:53`, `${OUTSIDE}:50000`];
  const flow = { src, dst, proto: PROTO.UDP, zone: MASQUERADE };
  w.run(udp({ src: dst, dst: src, ...IN }), back);
  w.edit(flow, { created: w.session(flow)!.created - 60_000_000_000n });
  w.check({ program: out, packet: udp({ src, dst }), reason: "pass_not_masqueraded" });
});

test("exempt_yields() gives a pod's connection to its Service, from a port that another node's NodePort sent to", (w) => {
  const peer = `${OTHER_NODE}:30080`;
  for (const scope of [SCOPE.CLUSTER, SCOPE.EXTERNAL]) {
    external(w, "0.0.0.0:30080", [`${LOCAL}:8080`], { scope });
  }
  w.maps.no_masquerade.set({ prefixlen: 24, addr: "192.0.2.0" }, 0);
  w.run(tcp({ src: peer, dst: pod, flags: "S", ...IN }), back);
  w.check({
    packet: tcp({ src: pod, dst: peer, flags: "S" }),
    out: tcp({ src: pod, dst: `${LOCAL}:8080`, flags: "S", ...INTO_LOCAL }),
    reason: "forward_delivered",
  });
});
