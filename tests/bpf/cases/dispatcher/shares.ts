/** What one pod may have of the node's source ports, and flows from outside to a pod's own address. */
import assert from "node:assert/strict";
import { RATE_FLAG, SESSION_STATE, SHARE_KIND } from "../../../../src/bpf/layout.ts";
import { CODE, ICMP, icmp, icmpError, PROTO, tcp, udp } from "../../support/packet.ts";
import { external, IN, NODE, OUTSIDE } from "../../support/node.ts";
import { CLIENT, FROM_LOCAL, LOCAL, test } from "../../support/scene.ts";

const out = "k8sd_to_uplink", back = "k8sd_from_uplink";
const MASQUERADE = 1;
const LATER = 1n << 62n;
const dst = `${OUTSIDE}:53`;

test("snat_claim() leaves other pods ports to a destination that one pod floods", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20000 + 2047 });
  for (let port = 1; port <= 6000; port++) w.run(udp({ src: `${CLIENT}:${port}`, dst }), out);
  const own = w.sessions().filter(([{ src, dst }]) => src === OUTSIDE && dst === NODE).length;
  assert.ok(own > 0.7 * 2048 && own < 0.8 * 2048, `${own} of 2048`);
  for (let port = 1; port <= 100; port++) {
    const { verdict } = w.run(udp({ src: `${LOCAL}:${port}`, dst }), out);
    assert.equal(verdict, -1, `flow ${port}`);
    assert.ok(w.session({ src: `${LOCAL}:${port}`, dst, zone: MASQUERADE, proto: PROTO.UDP }));
  }
});

test("snat_claim() gives a pod the share that is set", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20000 + 2047 });
  w.limit({ ports: 64 });
  for (let port = 1; port <= 6000; port++) w.run(udp({ src: `${CLIENT}:${port}`, dst }), out);
  const own = w.sessions().filter(([{ src, dst }]) => src === OUTSIDE && dst === NODE).length;
  assert.ok(own > 0.2 * 2048 && own < 0.3 * 2048, `${own} of 2048`);
});

test("reply_key_claim() knows the port of an assured flow that was evicted", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20000 });
  const flow = { src: `${CLIENT}:1`, dst };
  const port = `${NODE}:20000`;
  w.run(tcp({ ...flow, flags: "S" }), out);
  w.run(tcp({ src: dst, dst: port, flags: "SA", ...IN }), back);
  w.run(tcp({ ...flow, flags: "A" }), out);
  assert.equal(w.maps.assured.keys().length, 2);
  w.maps.sessions.deleteBatch(w.maps.sessions.keys());
  const packet = tcp({ src: `${LOCAL}:1`, dst, flags: "S" });
  w.check({ program: out, packet, reason: "drop_ports_exhausted" });
  assert.equal(w.session({ src: dst, dst: port })?.dst, CLIENT);
});

test("tcp_track() sees the handshake of a client outside with a pod's own address", (w) => {
  const client = `${OUTSIDE}:4000`, pod = `${CLIENT}:80`;
  const forward = { src: pod, dst: client, zone: MASQUERADE };
  w.run(tcp({ src: client, dst: pod, flags: "S", ...IN }), back);
  w.run(tcp({ src: client, dst: pod, flags: "S", ...IN }), back);
  w.run(tcp({ src: pod, dst: client, flags: "SA" }), out);
  assert.equal(w.session(forward)?.state, SESSION_STATE.NEW);
  assert.equal(w.maps.assured.keys().length, 0);
  w.run(tcp({ src: client, dst: pod, flags: "A", ...IN }), back);
  assert.equal(w.session(forward)?.state, SESSION_STATE.ESTABLISHED);
  assert.equal(w.maps.assured.keys().length, 2);
  assert.equal(w.maps.sources.get({ addr: OUTSIDE })?.assured, 1);
  w.maps.sessions.deleteBatch(w.maps.sessions.keys());
  const packet = tcp({ src: pod, dst: client, flags: "PA" });
  w.check({ program: out, packet, reason: "pass_not_masqueraded" });
  w.run(tcp({ src: client, dst: pod, flags: "R", ...IN }), back);
  assert.equal(w.session(forward)?.state, SESSION_STATE.CLOSED);
  assert.equal(w.maps.assured.keys().length, 0);
});

test("exempt_create() counts a flow from outside to a pod's own address for its client", (w) => {
  w.limit({ flows: 4 });
  const other = `${LOCAL}:5`;
  w.run(udp({ src: other, dst }), out);
  const before = w.counter("event_session_recycled");
  for (let port = 10; port < 30; port++) {
    w.run(udp({ src: `${OUTSIDE}:${port}`, dst: `${CLIENT}:53`, ...IN }), back);
  }
  const left = w.forwardSessions().map(([{ dport }]) => dport).sort();
  assert.deepEqual(left, [26, 27, 28, 29, 53]);
  assert.equal(w.sessions().length, 2 * 5, "their other entries go with them");
  assert.equal(w.counter("event_session_recycled"), before + 16n);
});

test("source_note() counts addresses outside without an assured flow under few keys", (w) => {
  external(w, "0.0.0.0:30053", [`${CLIENT}:53`], { proto: PROTO.UDP });
  w.run(udp({ src: `${CLIENT}:1`, dst }), out);
  for (let i = 1; i <= 500; i++) {
    const src = `203.0.113.${i % 256}:${i}`;
    w.run(udp({ src, dst: `${NODE}:30053`, ...IN }), back);
  }
  const keys = w.maps.sources.keys().map(({ addr }) => addr);
  assert.ok(keys.includes(CLIENT));
  assert.ok(keys.every((addr) => addr === CLIENT || addr.startsWith("0.0.")), keys.join(" "));
});

test("port_tries() are few, or as the last ones, where hardly any port was free lately", (w) => {
  const count = 32;
  w.configure({ snat_first: 20000, snat_last: 20000 + count - 1 });
  const flow = (src: string) => ({ src, dst, zone: MASQUERADE, proto: PROTO.UDP });
  const reply = (port: number) => ({ src: dst, dst: `${NODE}:${port}`, proto: PROTO.UDP });
  const open = (src: string) => w.run(udp({ src, dst }), out).verdict === -1;
  const { scarce_ports: map } = w.maps;
  /** Sets when flows were used last. */
  const last = (time: (created: bigint) => bigint) =>
    w.maps.sessions.setBatch(
      w.maps.sessions.entries().map(([key, value]) =>
        [key, { ...value, last_seen: time(value.created) }] as const
      ),
    );
  /** All ports are taken, and sources have found that out: it does not go by while a busy machine does other things. */
  const fill = (sources: string[]) => {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    for (let i = 0; i < count; i++) {
      assert(open(`${LOCAL}:${1000 + i}`));
      w.forgetScarcePorts();
      last(() => LATER);
    }
    for (const source of sources) {
      assert(!open(`${source}:1`));
      rememberLong();
    }
  };
  const rememberLong = () => {
    for (const [i, known] of map.range(0, map.maxEntries).entries()) {
      const { far_end, failed, other } = known;
      if (far_end) {
        map.set(i, { ...known, at: LATER, failed: failed && LATER, other: other && LATER });
      }
    }
  };
  const flows = Array.from({ length: 40 }, (_, i) => `${CLIENT}:${2000 + i}`);
  /** How many flows find the one port that is free. */
  const found = (...sources: string[]) =>
    flows.filter((src) => {
      fill(sources);
      const first = `${LOCAL}:1000`, { sport } = w.session(flow(first))!;
      w.maps.sessions.deleteBatch([flow(first), reply(sport)].map((end) => w.key(end)));
      return open(src);
    }).length;
  assert.equal(found(), 40);
  assert.equal(found("10.1.0.4"), 40, "it may have used up its share alone");
  assert.equal(found("10.1.0.4", "10.1.0.5"), 40);
  const own = found(CLIENT);
  assert.ok(own > 0 && own < 20, `${own} of 40`);

  /** How many flows take the one port of an idle flow that is looked at first. */
  const took = (...sources: string[]) =>
    flows.filter((src) => {
      w.maps.sessions.deleteBatch(w.maps.sessions.keys());
      w.forgetScarcePorts();
      open(src);
      const { sport } = w.session(flow(src))!;
      fill(sources);
      last((created) => created - 3n * 10n ** 9n);
      return open(src) && w.session(flow(src))!.sport === sport;
    }).length;
  assert.equal(took("10.1.0.4"), 0);
  assert.equal(took("10.1.0.4", "10.1.0.5"), 40);
});

test("port_may_go() frees ports of handshakes that nobody ends, while others find none", (w) => {
  w.configure({ snat_first: 20000, snat_last: 20000 });
  const flow = { src: `${CLIENT}:1`, dst };
  const other = (port: number) => tcp({ src: `${LOCAL}:${port}`, dst, flags: "S" });
  w.run(tcp({ ...flow, flags: "S" }), out);
  w.check({ program: out, packet: other(1), reason: "drop_ports_exhausted" });
  const { times } = w.maps.shares.get({ addr: LOCAL, ifindex: 0 })!;
  assert.equal(times[SHARE_KIND.PORTS], 1n);
  const age = (seconds: number) => {
    const key = w.key({ ...flow, zone: MASQUERADE });
    const session = w.maps.sessions.get(key)!;
    const last_seen = session.last_seen - BigInt(seconds * 1000) * 1_000_000n;
    w.maps.sessions.set(key, { ...session, last_seen });
  };
  age(0.2);
  assert.equal(w.run(other(1), out).verdict, -1);
  assert.equal(w.session({ src: dst, dst: `${NODE}:20000` })?.dst, LOCAL);
  // One that is established stays.
  w.run(tcp({ src: dst, dst: `${NODE}:20000`, flags: "SA", ...IN }), back);
  w.run(tcp({ src: `${LOCAL}:1`, dst, flags: "A" }), out);
  w.check({ program: out, packet: tcp({ ...flow, flags: "S" }), reason: "drop_ports_exhausted" });
});

test("icmp_error() leaves the error of a pod with a limited rate to the stack", (w) => {
  external(w, "0.0.0.0:30053", [`${LOCAL}:53`], { proto: PROTO.UDP });
  const client = `${OUTSIDE}:50000`, port = `${NODE}:30053`;
  w.run(udp({ src: client, dst: port, ...IN }), back);
  const error = { dst: OUTSIDE, type: ICMP.UNREACHABLE, code: CODE.PORT, ...FROM_LOCAL };
  const packet = icmpError({
    ...error,
    src: LOCAL,
    about: udp({ src: client, dst: `${LOCAL}:53` }),
  });
  w.rate(RATE_FLAG.EGRESS);
  w.check({ packet, reason: "pass_icmp_error" });
  w.rate(0); // of the uplink, which has that index here
  const translated = { ...error, src: NODE, about: udp({ src: client, dst: port }) };
  w.check({ program: out, packet, out: icmpError(translated), reason: "icmp_error_routed" });
});

test("monitor_afford() leaves as much of the budget to others as one address uses", (w) => {
  const cpus = w.maps.monitor_budget.get(0)!.length;
  const grant = (round: bigint) =>
    w.maps.monitor_budget.set(0, Array.from({ length: cpus }, () => ({ left: 90n, round })));
  const shown = () =>
    w.maps.monitor_budget.get(0)!.reduce((sum, { left }) => sum + 90 - Number(left), 0);
  const send = (src: string, count: number) => {
    for (let i = 0; i < count; i++) {
      w.run(udp({ src: `${src}:9`, dst: `${NODE}:9`, ...IN }), back); // passes
    }
  };
  const everything = 2n ** 64n - 1n;
  const until = 2n ** 62n, sample = 0xffff_ffff;
  w.maps.monitor.set(0, { reasons: [everything, everything], until, sample, ends: 0 });
  try {
    grant(1n);
    send(OUTSIDE, 500 * cpus);
    const loud = shown();
    assert.ok(loud > 0 && loud <= 30 * cpus, `${loud} of ${90 * cpus}`);
    send("203.0.113.9", 10);
    assert.equal(shown(), loud + 10);
    grant(2n);
    send(OUTSIDE, 10);
    assert.equal(shown(), 10, "a new round");
  } finally {
    w.maps.monitor.set(0, { reasons: [0n, 0n], until: 0n, sample: 0, ends: 0 });
  }
});

test("node_flow_note() keeps replies to the node's own echoes from pods", (w) => {
  const ping = (id: number, src = NODE) =>
    icmp({ src, dst: OUTSIDE, type: ICMP.ECHO, rest: id << 16 });
  const pong = (id: number) =>
    icmp({ src: OUTSIDE, dst: NODE, type: ICMP.ECHO_REPLY, rest: id << 16, ...IN });
  const identifier = () =>
    w.session({ src: `${CLIENT}:77`, dst: `${OUTSIDE}:0`, proto: PROTO.ICMP, zone: MASQUERADE })
      ?.sport;
  // A pod has the identifier already: its next echo gets another one.
  w.run(ping(77, CLIENT), out);
  const taken = identifier()!;
  w.check({ program: out, packet: ping(taken), reason: "pass_no_session" });
  w.check({ program: back, packet: pong(taken), reason: "pass_node_flow" });
  w.run(ping(77, CLIENT), out);
  assert.notEqual(identifier(), taken);
  w.check({ program: back, packet: pong(taken), reason: "pass_node_flow" });
  // No pod gets one of the node's, however scarce they are.
  w.configure({ snat_first: 2000, snat_last: 2001 });
  w.run(ping(2000), out);
  w.run(ping(2001), out);
  w.check({ program: out, packet: ping(78, CLIENT), reason: "drop_ports_exhausted" });
  for (const id of [2000, 2001]) {
    w.check({ program: back, packet: pong(id), reason: "pass_node_flow" });
  }
});
