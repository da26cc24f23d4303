/** Sessions: what pins a flow, and what ends or mends it. */
import assert from "node:assert/strict";
import { SESSION_FLAG, SESSION_STATE } from "../../../src/bpf/layout.ts";
import { PROTO, tcp, udp } from "../support/packet.ts";
import {
  CLIENT,
  CLIENT_MAC,
  FROM_LOCAL,
  GATEWAY,
  GATEWAY_MAC,
  LOCAL,
  LOCAL_MAC,
  REMOTE,
  test,
  VIP,
} from "../support/scene.ts";
import type { World } from "../support/world.ts";

const client = `${CLIENT}:40000`;
const vip = `${VIP}:80`;
const flow = { src: client, dst: vip };
const udpFlow = { ...flow, proto: PROTO.UDP };
const A = `${LOCAL}:8080`;
const B = `${REMOTE}:8080`;
const { NEW, ESTABLISHED, CLOSING, CLOSED } = SESSION_STATE;

/** A packet of the client with these flags; the backend it went to. */
function send(w: World, flags: string): string {
  w.run(tcp({ ...flow, flags }));
  return w.target(flow) ?? "none";
}

/** A packet of backend A to the client. */
function answer(w: World, flags: string): void {
  w.run(tcp({ src: A, dst: client, flags, ...FROM_LOCAL }));
}

function state(w: World): number | undefined {
  return w.session(flow)?.state;
}

/** A service whose one backend was A when the flow began and is B since. */
function moved(w: World, ...flags: string[]): void {
  w.service(vip, [A]);
  for (const [i, each] of flags.entries()) {
    send(w, each);
    if (each === "S" && i + 1 < flags.length) answer(w, "SA");
  }
  w.service(vip, [B]);
}

test("session_track() keeps a flow on its backend while the service changes", (w) => {
  moved(w, "S", "A");
  assert.equal(send(w, "A"), A);
  w.service(vip, []);
  assert.equal(send(w, "PA"), A);
  w.removeService(vip);
  assert.equal(send(w, "A"), A);
  w.check({
    packet: tcp({ src: A, dst: client, flags: "A", ...FROM_LOCAL }),
    out: tcp({ src: vip, dst: client, flags: "A", ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC }),
    reason: "reply_delivered",
  });
});

test("session_track() gives another flow of the same client a backend of its own", (w) => {
  moved(w, "S");
  w.run(tcp({ src: `${CLIENT}:40001`, dst: vip, flags: "S" }));
  assert.equal(w.target({ src: `${CLIENT}:40001`, dst: vip }), B);
});

test("tcp_track() follows a connection from SYN to the second FIN", (w) => {
  w.service(vip, [A]);
  const seen = [
    () => send(w, "S"),
    () => answer(w, "SA"),
    () => send(w, "A"),
    () => send(w, "PA"),
    () => send(w, "FA"),
    () => answer(w, "A"),
    () => answer(w, "FA"),
    () => send(w, "A"),
  ].map((step) => (step(), state(w)));
  const established = [ESTABLISHED, ESTABLISHED, CLOSING, CLOSING, CLOSED, CLOSED];
  assert.deepEqual(seen, [NEW, NEW, ...established]);
});

test("tcp_track() follows a connection that the backend ends", (w) => {
  w.service(vip, [A]);
  const seen = [
    () => send(w, "S"),
    () => answer(w, "SA"),
    () => send(w, "A"),
    () => answer(w, "FA"),
    () => send(w, "FA"),
  ].map((step) => (step(), state(w)));
  assert.deepEqual(seen, [NEW, NEW, ESTABLISHED, CLOSING, CLOSED]);
});

for (const [who, reset] of [["client", send], ["backend", answer]] as const) {
  test(`tcp_track() closes on a reset by the ${who}`, (w) => {
    w.service(vip, [A]);
    send(w, "S");
    answer(w, "SA");
    send(w, "A");
    reset(w, "R");
    assert.equal(state(w), CLOSED);
  });
}

test("tcp_track() keeps the backend of a SYN that is repeated", (w) => {
  w.service(vip, [A, B]);
  const first = send(w, "S");
  for (let i = 0; i < 20; i++) assert.equal(send(w, "S"), first);
  assert.equal(state(w), NEW);
  w.service(vip, [first]);
  answer(w, "SA");
  assert.equal(send(w, "S"), first);
});

test("reopens() takes a SYN on an established connection for a retransmission", (w) => {
  w.service(vip, [A]);
  send(w, "S");
  answer(w, "SA");
  send(w, "A");
  assert.equal(send(w, "S"), A);
  assert.equal(state(w), ESTABLISHED);
});

const endings: Record<string, (w: World) => void> = {
  "both FINs": (w) => (send(w, "FA"), answer(w, "FA")),
  "a reset": (w) => answer(w, "R"),
};
for (const [ending, end] of Object.entries(endings)) {
  test(`reopens() gives a SYN after ${ending} a new backend`, (w) => {
    moved(w, "S", "A");
    end(w);
    assert.equal(send(w, "A"), A, "a straggler");
    assert.equal(send(w, "S"), B);
    assert.equal(state(w), NEW);
    assert.equal(w.session({ src: B, dst: client })?.src, VIP);
  });
}

test("session_create() gives a lost connection a backend anew", (w) => {
  w.service(vip, [B]);
  w.check({
    packet: tcp({ ...flow, flags: "PA" }),
    out: tcp({ src: client, dst: B, flags: "PA" }),
    reason: "forward_routed",
    events: ["event_session_created", "event_session_without_syn"],
  });
  assert.equal(state(w), ESTABLISHED);
});

test("service_from_pod() makes no session for a reset", (w) => {
  w.service(vip, [B]);
  w.check({ packet: tcp({ ...flow, flags: "RA" }), reason: "drop_rst_no_session", events: [] });
  assert.deepEqual(w.sessions(), []);
});

const timeouts: [what: string, seconds: number, flags: string[], reply?: string][] = [
  ["an opening connection", 60, ["S"]],
  ["an established connection", 5 * 24 * 3600, ["S", "A"]],
  ["a half-closed connection", 3600, ["S", "A", "FA"]],
  ["a closed connection", 120, ["S", "A", "FA"], "FA"],
];
for (const [what, seconds, flags, reply] of timeouts) {
  test(`session_timeout() ends ${what} after ${seconds} s without packets`, (w) => {
    moved(w, ...flags);
    if (reply) answer(w, reply);
    w.age(flow, seconds - 5);
    assert.equal(send(w, "A"), A, "too early");
    // The packet may have changed the state: go back to the one in question.
    w.service(vip, [A]);
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    moved(w, ...flags);
    if (reply) answer(w, reply);
    w.age(flow, seconds + 5);
    assert.equal(send(w, "A"), B, "too late");
  });
}

test("session_timeout() ends a UDP flow after 120 s without packets", (w) => {
  w.service(vip, [A], { proto: PROTO.UDP });
  w.run(udp(flow));
  w.service(vip, [B], { proto: PROTO.UDP });
  w.age(udpFlow, 115);
  w.run(udp(flow));
  assert.equal(w.target(udpFlow), A);
  w.age(udpFlow, 125);
  w.run(udp(flow));
  assert.equal(w.target(udpFlow), B);
  assert.equal(w.session({ src: B, dst: client, proto: PROTO.UDP })?.src, VIP);
});

test("session_timeout() takes what is configured", (w) => {
  const configured = [
    [["S"], { tcpNew: 10 }],
    [["S", "A"], { tcpEstablished: 10 }],
    [["S", "A", "FA"], { tcpClosing: 10 }],
    [["S", "A", "R"], { tcpClosed: 10 }],
  ] as const;
  for (const [flags, timeout] of configured) {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    w.timeouts({ tcpNew: 99, tcpEstablished: 99, tcpClosing: 99, tcpClosed: 99, ...timeout });
    moved(w, ...flags);
    w.age(flow, 8);
    assert.equal(send(w, ""), A, JSON.stringify(timeout));
    w.age(flow, 12);
    assert.equal(send(w, "A"), B, JSON.stringify(timeout));
  }
  w.maps.sessions.deleteBatch(w.maps.sessions.keys());
  w.timeouts({ udp: 10 });
  w.service(vip, [A], { proto: PROTO.UDP });
  w.run(udp(flow));
  w.service(vip, [B], { proto: PROTO.UDP });
  w.age(udpFlow, 12);
  w.run(udp(flow));
  assert.equal(w.target(udpFlow), B);
});

test("session_track() passes a reply whose session has expired", (w) => {
  w.service(vip, [A], { proto: PROTO.UDP });
  w.run(udp(flow));
  w.age({ src: A, dst: client, proto: PROTO.UDP }, 125);
  w.check({
    packet: udp({ src: A, dst: client, ethSrc: LOCAL_MAC, ethDst: CLIENT_MAC }),
    out: udp({ src: A, dst: client, ethSrc: LOCAL_MAC, ethDst: CLIENT_MAC }),
    reason: "direct_delivered",
  });
});

test("session_refresh() notes the time at most once a second, in both entries", (w) => {
  w.service(vip, [A]);
  send(w, "S");
  const reply = { src: A, dst: client };
  w.age(flow, 0.5);
  w.age(reply, 10);
  const before = w.session(flow)!.last_seen, old = w.session(reply)!.last_seen;
  send(w, "A");
  assert.equal(w.session(flow)!.last_seen, before);
  assert.equal(w.session(reply)!.last_seen, old);
  w.age(flow, 1);
  send(w, "A");
  assert(w.session(flow)!.last_seen > before);
  assert.equal(w.session(flow)!.last_seen, w.session(reply)!.last_seen);
});

for (const direction of ["forward", "reply"] as const) {
  test(`session_refresh() brings back a ${direction} entry that the LRU evicted`, (w) => {
    w.service(vip, [A]);
    send(w, "S");
    answer(w, "SA");
    send(w, "A");
    w.maps.assured.deleteBatch(w.maps.assured.keys());
    const reply = { src: A, dst: client };
    const [lost, left] = direction === "forward" ? [flow, reply] : [reply, flow];
    const value = w.session(lost)!;
    w.maps.sessions.deleteBatch([w.key(lost)]);
    w.age(left, 1.5);
    const before = w.counter("event_session_repaired");
    if (direction === "forward") answer(w, "A");
    else send(w, "A");
    assert.equal(w.counter("event_session_repaired"), before + 1n);
    const { last_seen: _, ...rest } = value;
    const { last_seen: now, ...mended } = w.session(lost)!;
    const learnt = { tcp: 0, seq_end: 0, seq_run: 0, ack: 0, asked: 0 };
    assert.deepEqual(mended, { ...rest, ...learnt });
    assert.equal(now, w.session(left)!.last_seen);
  });
}

test("session_refresh() leaves an entry that belongs to another flow by now", (w) => {
  w.service(vip, [A]);
  send(w, "S");
  const reply = { src: A, dst: client };
  w.edit(reply, { src: "10.96.0.99" });
  const before = w.session(reply)!;
  w.age(flow, 1.5);
  send(w, "A");
  assert.deepEqual(w.session(reply), before);
});

test("session_create() marks the direction, the service and nothing else", (w) => {
  w.service(vip, [A], { id: 77 });
  send(w, "S");
  const forward = w.session(flow)!, reply = w.session({ src: A, dst: client })!;
  assert.deepEqual([forward.flags, forward.service_id, forward.state], [0, 77, NEW]);
  assert.deepEqual(
    [reply.flags, reply.service_id, reply.state],
    [SESSION_FLAG.REPLY, 77, NEW],
  );
});

/** A's answer to the client's port, as the client must see it: from the service, or as it is. */
function answeredAs(w: World, proto: "tcp" | "udp", src: string): void {
  const make = (ends: { src: string; ethSrc?: string; ethDst?: string }) =>
    proto === "tcp" ? tcp({ ...ends, dst: client, flags: "SA" }) : udp({ ...ends, dst: client });
  w.check({
    packet: make({ src: A, ...FROM_LOCAL }),
    out: make({ src, ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC }),
    reason: src === A ? "direct_delivered" : "reply_delivered",
  });
}

test("session_evict() leaves replies to a direct connection from a former flow's port", (w) => {
  w.service(vip, [A]);
  send(w, "S");
  answeredAs(w, "tcp", vip);
  const before = w.counter("event_session_replaced");
  w.run(tcp({ src: client, dst: A, flags: "S" }));
  assert.equal(w.counter("event_session_replaced"), before + 1n);
  answeredAs(w, "tcp", A);
  assert.equal(send(w, "S"), A, "the service's turn again");
  answeredAs(w, "tcp", vip);
});

test("session_evict() does not end a connection that is running, only one that is over", (w) => {
  w.service(vip, [A]);
  send(w, "S");
  answeredAs(w, "tcp", vip);
  send(w, "A");
  const before = w.counter("event_session_replaced");
  w.run(tcp({ src: client, dst: A, flags: "S" }));
  answeredAs(w, "tcp", vip);
  send(w, "FA");
  w.run(tcp({ src: client, dst: A, flags: "S" }));
  answeredAs(w, "tcp", vip);
  assert.equal(w.counter("event_session_replaced"), before, "half-closed");
  answer(w, "FA");
  w.run(tcp({ src: client, dst: A, flags: "S" }));
  answeredAs(w, "tcp", A);
  assert.equal(w.counter("event_session_replaced"), before + 1n);
});

test("session_evict() ends a running connection that has timed out", (w) => {
  w.service(vip, [A]);
  send(w, "S");
  send(w, "A");
  w.age(flow, 6 * 86_400);
  w.run(tcp({ src: client, dst: A, flags: "S" }));
  answeredAs(w, "tcp", A);
});

test("session_evict() lets segments of a running connection alone", (w) => {
  w.service(vip, [A]);
  send(w, "S");
  w.run(tcp({ src: client, dst: A, flags: "A" }));
  answeredAs(w, "tcp", vip);
});

test("session_evict() goes by who spoke last in UDP", (w) => {
  w.service(vip, [A], { proto: PROTO.UDP });
  w.run(udp({ src: client, dst: vip }));
  answeredAs(w, "udp", vip);
  w.run(udp({ src: client, dst: A }));
  answeredAs(w, "udp", A);
  w.run(udp({ src: client, dst: vip }));
  answeredAs(w, "udp", vip);
});

test("a hairpin flow and one of the node's from the same port are two", (w) => {
  const self = `${CLIENT}:8080`;
  const home = { ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC };
  w.service(vip, [self]);
  send(w, "S");
  const { sport } = w.session(flow)!;
  w.run(tcp({ src: `${GATEWAY}:40000`, dst: self, flags: "S" }), "lbrp_to_pod");
  const answer = (port: number) => tcp({ src: self, dst: `${GATEWAY}:${port}`, flags: "SA" });
  w.check({ packet: answer(40000), reason: "pass_no_service" });
  w.check({
    packet: answer(sport),
    out: tcp({ src: vip, dst: client, flags: "SA", ...home }),
    reason: "reply_delivered",
  });
});
