/** Pods and the world. */
import assert from "node:assert/strict";
import { SESSION_FLAG, SESSION_STATE } from "../../../../src/bpf/layout.ts";
import { macBytes } from "../../../../src/net/mac.ts";
import { ICMP, icmp, PROTO, tcp, text, udp } from "../../support/packet.ts";
import {
  IN,
  into,
  NODE,
  OTHER_NODE,
  OUTSIDE,
  OVERLAY_PORT,
  UPLINK_MAC,
} from "../../support/node.ts";
import {
  CLIENT,
  CLIENT_MAC,
  INTO_CLIENT,
  LOCAL,
  LOCAL_MAC,
  REMOTE,
  test,
  VIP,
} from "../../support/scene.ts";
import { UPLINK, type World } from "../../support/world.ts";

const out = "k8sd_to_uplink", back = "k8sd_from_uplink";
const MASQUERADE = 1;
const pod = `${CLIENT}:40000`;
const world = `${OUTSIDE}:443`;

/** What the world sees of a pod's flow. */
function seen(w: World, proto: number = PROTO.TCP, src = pod, dst = world): string {
  const session = w.session({ src, dst, proto, zone: MASQUERADE });
  assert(session, "no session");
  return `${session.src}:${session.sport}`;
}

test("masquerade() gives a pod's connection the uplink's address, and back", (w) => {
  w.run(tcp({ src: pod, dst: world, flags: "S" }), out);
  assert.match(seen(w), new RegExp(`^${NODE}:2\\d{4}$`));
  w.check({
    program: out,
    packet: tcp({ src: pod, dst: world, flags: "PA", payload: text("hello") }),
    out: tcp({ src: seen(w), dst: world, flags: "PA", payload: text("hello") }),
    reason: "masqueraded",
    events: [],
  });
  w.check({
    program: back,
    packet: tcp({ src: world, dst: seen(w), flags: "SA", ...IN }),
    out: tcp({ src: world, dst: pod, flags: "SA", ...into(CLIENT_MAC) }),
    reason: "reply_delivered",
    events: [],
  });
});

test("masquerade() carries datagrams, with and without checksum", (w) => {
  for (const checksum of [undefined, "none"] as const) {
    const src = `${CLIENT}:${checksum ? 1 : 2}`;
    w.run(udp({ src, dst: world, checksum }), out);
    const from = seen(w, PROTO.UDP, src);
    w.check({
      program: out,
      packet: udp({ src, dst: world, checksum }),
      out: udp({ src: from, dst: world, checksum }),
      reason: "masqueraded",
    });
    w.check({
      program: back,
      packet: udp({ src: world, dst: from, checksum, ...IN }),
      out: udp({ src: world, dst: src, checksum, ...into(CLIENT_MAC) }),
      reason: "reply_delivered",
    });
  }
});

test("masquerade() gives no pod's datagrams to a tunnel's port the node's address", (w) => {
  for (const dst of [OUTSIDE, OTHER_NODE]) {
    const packet = udp({ src: pod, dst: `${dst}:${OVERLAY_PORT}` });
    w.check({ program: out, packet, reason: "drop_tunnel", events: [] });
  }
  const kept = udp({ src: pod, dst: `${REMOTE}:${OVERLAY_PORT}` });
  w.check({ program: out, packet: kept, reason: "pass_not_masqueraded" });
});

test("masquerade() carries pings, each with an identifier of its own", (w) => {
  const ping = (src: string, id: number) =>
    icmp({ src, dst: OUTSIDE, type: ICMP.ECHO, rest: id << 16 | 3, payload: text("ping") });
  const ids = [CLIENT, LOCAL].map((src) => {
    w.run(ping(src, 77), out);
    const flow = { src: `${src}:77`, dst: `${OUTSIDE}:0`, proto: PROTO.ICMP, zone: MASQUERADE };
    const id = w.session(flow)!.sport;
    w.check({ program: out, packet: ping(src, 77), out: ping(NODE, id), reason: "masqueraded" });
    const pong = { src: OUTSIDE, type: ICMP.ECHO_REPLY, payload: text("ping") };
    w.check({
      program: back,
      packet: icmp({ ...pong, dst: NODE, rest: id << 16 | 3, ...IN }),
      out: icmp({
        ...pong,
        dst: src,
        rest: 77 << 16 | 3,
        ...into(src === CLIENT ? CLIENT_MAC : LOCAL_MAC),
      }),
      reason: "reply_delivered",
    });
    return id;
  });
  assert.notEqual(ids[0], ids[1]);
});

test("is_masquerade_exempt() lets pods be themselves where they are known", (w) => {
  w.maps.no_masquerade.set({ prefixlen: 24, addr: "198.51.100.0" }, 0);
  const packet = tcp({ src: pod, dst: world, flags: "S" });
  w.check({ program: out, packet, reason: "pass_not_masqueraded", events: [] });
  const remote = tcp({ src: pod, dst: `${REMOTE}:80`, flags: "S" });
  w.check({ program: out, packet: remote, reason: "pass_not_masqueraded", events: [] });
});

test("is_masquerade_exempt() lets pods be themselves when masquerade is off", (w) => {
  w.configure({ flags: 0 });
  const packet = tcp({ src: pod, dst: world, flags: "S" });
  w.check({ program: out, packet, reason: "pass_not_masqueraded", events: [] });
});

test("masquerade() concerns pods of this node only", (w) => {
  for (const src of [`${REMOTE}:1`, `${OTHER_NODE}:1`, `${OUTSIDE}:1`]) {
    const packet = tcp({ src, dst: "203.0.113.4:80", flags: "S" });
    w.check({ program: out, packet, reason: "pass_no_session", events: [] });
  }
  w.configure({ pod_cidr: "0.0.0.0", pod_mask: "0.0.0.0" });
  const packet = tcp({ src: pod, dst: world, flags: "S" });
  w.check({ program: out, packet, reason: "pass_no_session", events: [] });
});

test("masquerade_flow() drops while the uplink's address is not known", (w) => {
  const packet = tcp({ src: pod, dst: world, flags: "S" });
  w.maps.uplinks.set({ ifindex: UPLINK }, { addr: "0.0.0.0", mtu: 1500 });
  w.check({ program: out, packet, reason: "drop_no_snat_address", events: [] });
  w.maps.uplinks.deleteBatch([{ ifindex: UPLINK }]);
  w.check({ program: out, packet, reason: "drop_no_snat_address", events: [] });
});

test("masquerade_flow() makes no session for a reset", (w) => {
  const packet = tcp({ src: pod, dst: world, flags: "R" });
  w.check({ program: out, packet, reason: "drop_rst_no_session", events: [] });
});

test("masquerade() follows a connection to its end", (w) => {
  const flow = { src: pod, dst: world, zone: MASQUERADE };
  const send = (flags: string) => void w.run(tcp({ src: pod, dst: world, flags }), out);
  const answer = (flags: string) =>
    void w.run(tcp({ src: world, dst: seen(w), flags, ...IN }), back);
  const { NEW, ESTABLISHED, CLOSING, CLOSED } = SESSION_STATE;
  const steps: [() => void, number][] = [
    [() => send("S"), NEW],
    [() => answer("SA"), NEW],
    [() => send("A"), ESTABLISHED],
    [() => answer("FA"), CLOSING],
    [() => send("FA"), CLOSED],
  ];
  for (const [step, state] of steps) {
    step();
    assert.equal(w.session(flow)?.state, state);
  }
});

test("session_refresh() brings back either entry of a masqueraded flow", (w) => {
  w.run(tcp({ src: pod, dst: world, flags: "S" }), out);
  w.run(tcp({ src: pod, dst: world, flags: "A" }), out);
  const forward = { src: pod, dst: world, zone: MASQUERADE };
  const reply = { src: world, dst: seen(w) };
  for (const [lost, left] of [[forward, reply], [reply, forward]] as const) {
    const { last_seen: _, ...before } = w.session(lost)!;
    w.maps.sessions.deleteBatch([w.key(lost)]);
    w.age(left, 1.5);
    if (left === forward) w.run(tcp({ src: pod, dst: world, flags: "A" }), out);
    else w.run(tcp({ src: world, dst: reply.dst, flags: "A", ...IN }), back);
    const { last_seen: __, ...after } = w.session(lost)!;
    const learnt = { tcp: 0, seq_end: 0, seq_run: 0, ack: 0, asked: 0 };
    assert.deepEqual(after, { ...before, ...learnt });
  }
});

test("session_timeout() ends a masqueraded ping after 120 s, or as configured", (w) => {
  const flow = { src: `${CLIENT}:77`, dst: `${OUTSIDE}:0`, proto: PROTO.ICMP, zone: MASQUERADE };
  const ping = icmp({ src: CLIENT, dst: OUTSIDE, type: ICMP.ECHO, rest: 77 << 16 });
  for (const [configured, seconds] of [[undefined, 120], [10, 10]] as const) {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    w.timeouts(configured ? { icmp: configured } : {});
    w.run(ping, out);
    const before = w.counter("event_session_created");
    w.age(flow, seconds - 2);
    w.run(ping, out);
    assert.equal(w.counter("event_session_created"), before);
    w.age(flow, seconds + 2);
    w.run(ping, out);
    assert.equal(w.counter("event_session_created"), before + 1n);
  }
});

test("exempt_inbound() leaves flows alone that the world began with a pod", (w) => {
  const flows: [request: Uint8Array<ArrayBuffer>, reply: Uint8Array<ArrayBuffer>][] = [
    [
      tcp({ src: `${OUTSIDE}:5000`, dst: `${CLIENT}:80`, flags: "S", ...IN }),
      tcp({ src: `${CLIENT}:80`, dst: `${OUTSIDE}:5000`, flags: "SA" }),
    ],
    [
      udp({ src: `${OUTSIDE}:5000`, dst: `${CLIENT}:53`, ...IN }),
      udp({ src: `${CLIENT}:53`, dst: `${OUTSIDE}:5000` }),
    ],
    [
      icmp({ src: OUTSIDE, dst: CLIENT, type: ICMP.ECHO, rest: 9 << 16, ...IN }),
      icmp({ src: CLIENT, dst: OUTSIDE, type: ICMP.ECHO_REPLY, rest: 9 << 16 }),
    ],
  ];
  for (const from of ["k8sd_from_uplink", "k8sd_from_overlay"] as const) {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    for (const [request, reply] of flows) {
      for (const _ of ["first", "again"]) {
        const delivered = request.slice();
        delivered.set(macBytes(CLIENT_MAC), 0);
        delivered.set(macBytes(UPLINK_MAC), 6);
        w.check({ program: from, packet: request, out: delivered, reason: "direct_delivered" });
        w.check({ program: out, packet: reply, reason: "pass_not_masqueraded" });
      }
    }
  }
});

test("exempt_inbound() leaves a pod's own flow masqueraded", (w) => {
  for (const proto of [PROTO.TCP, PROTO.UDP]) {
    const packet = (src: string, dst: string, frame = {}) =>
      proto === PROTO.TCP ? tcp({ src, dst, flags: "S", ...frame }) : udp({ src, dst, ...frame });
    w.run(packet(pod, world), out);
    const source = seen(w, proto);
    // A host outside sends to the pod itself, from where the pod's flow goes to.
    w.run(packet(world, pod, IN), back);
    w.check({
      program: out,
      packet: packet(pod, world),
      out: packet(source, world),
      reason: "masqueraded",
      events: [],
    });
  }
});

test("exempt_inbound() takes the place of a masqueraded flow that is over", (w) => {
  const client = `${OUTSIDE}:50000`;
  w.run(udp({ src: pod, dst: client }), out);
  w.age({ src: pod, dst: client, proto: PROTO.UDP, zone: MASQUERADE }, 125);
  w.run(udp({ src: client, dst: pod, ...IN }), back);
  w.check({ program: out, packet: udp({ src: pod, dst: client }), reason: "pass_not_masqueraded" });
});

test("exempt_inbound() begins anew with a connection from the same port", (w) => {
  const flow = { src: pod, dst: world, zone: MASQUERADE };
  w.run(tcp({ src: world, dst: pod, flags: "S", ...IN }), back);
  w.edit(flow, { state: SESSION_STATE.CLOSED });
  w.run(tcp({ src: world, dst: pod, flags: "S", ...IN }), back);
  assert.equal(w.session(flow)?.state, SESSION_STATE.NEW);
});

test("exempt_inbound() notes nothing of flows between private addresses", (w) => {
  for (const src of [`${REMOTE}:5000`]) {
    w.run(tcp({ src, dst: `${CLIENT}:80`, flags: "S", ...IN }), back);
    w.run(udp({ src, dst: `${CLIENT}:80`, ...IN }), "k8sd_from_overlay");
  }
  w.configure({ flags: 0 });
  w.run(udp({ src: world, dst: `${CLIENT}:80`, ...IN }), back);
  assert.deepEqual(w.sessions(), []);
});

test("reply_inbound() undoes both translations of a flow", (w) => {
  // A pod asks a service whose backend is in the network of another node.
  w.service(`${VIP}:80`, [`${OTHER_NODE}:6443`]);
  w.run(tcp({ src: pod, dst: `${VIP}:80`, flags: "S" }));
  w.run(tcp({ src: pod, dst: `${OTHER_NODE}:6443`, flags: "S" }), out);
  w.check({
    program: back,
    packet: tcp({
      src: `${OTHER_NODE}:6443`,
      dst: seen(w, PROTO.TCP, pod, `${OTHER_NODE}:6443`),
      flags: "SA",
      ...IN,
    }),
    out: tcp({ src: `${VIP}:80`, dst: pod, flags: "SA", ...into(CLIENT_MAC) }),
    reason: "reply_delivered",
  });
  // By the stack, where the bridge's program finishes it.
  w.check({
    program: "lbrp_to_pod",
    packet: tcp({ src: `${OTHER_NODE}:6443`, dst: pod, flags: "A", ...INTO_CLIENT }),
    out: tcp({ src: `${VIP}:80`, dst: pod, flags: "A", ...INTO_CLIENT }),
    reason: "reply_routed",
  });
});

test("reply_inbound() leaves the answer to a pod that it does not know to the stack", (w) => {
  const unknown = "10.1.0.99:1000";
  w.run(tcp({ src: unknown, dst: world, flags: "S" }), out);
  w.check({
    program: back,
    packet: tcp({ src: world, dst: seen(w, PROTO.TCP, unknown), flags: "SA", ...IN }),
    out: tcp({ src: world, dst: unknown, flags: "SA", ...IN }),
    reason: "reply_routed",
  });
});

test("snat_create() marks both entries, and no uplink", (w) => {
  w.run(tcp({ src: pod, dst: world, flags: "S" }), out);
  const forward = w.session({ src: pod, dst: world, zone: MASQUERADE })!;
  const reply = w.session({ src: world, dst: seen(w) })!;
  assert.deepEqual([forward.flags, forward.ifindex], [SESSION_FLAG.MASQUERADE, 0]);
  assert.deepEqual([reply.flags, reply.ifindex], [SESSION_FLAG.MASQUERADE | SESSION_FLAG.REPLY, 0]);
  assert.equal(w.sessions().length, 2);
});
