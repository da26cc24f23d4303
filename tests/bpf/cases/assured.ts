/** Flows that both ends have used outlive the LRU, and a source has its share. */
import assert from "node:assert/strict";
import { SESSION_STATE } from "../../../src/bpf/layout.ts";
import { PROTO, tcp, udp } from "../support/packet.ts";
import {
  CLIENT,
  CLIENT_MAC,
  FROM_LOCAL,
  GATEWAY_MAC,
  LOCAL,
  REMOTE,
  test,
  VIP,
} from "../support/scene.ts";
import type { World } from "../support/world.ts";

const client = `${CLIENT}:40000`;
const vip = `${VIP}:80`;
const flow = { src: client, dst: vip };
const A = `${LOCAL}:8080`;
const B = `${REMOTE}:8080`;
const reply = { src: A, dst: client };

function send(w: World, flags: string, src: string = client): string {
  w.run(tcp({ src, dst: vip, flags }));
  return w.target({ src, dst: vip }) ?? "none";
}
function answer(w: World, flags: string, dst: string = client): void {
  w.run(tcp({ src: A, dst, flags, ...FROM_LOCAL }));
}
function connect(w: World, src: string = client): void {
  send(w, "S", src);
  answer(w, "SA", src);
  send(w, "A", src);
}
/** As many other flows do. */
function evict(w: World): void {
  w.maps.sessions.deleteBatch(w.maps.sessions.keys());
}
function copies(w: World): number {
  return w.maps.assured.keys().length;
}
function datagram(w: World, src: string): void {
  w.run(udp({ src, dst: vip }));
}

test("assured_restore() brings both entries of an evicted connection back, at its backend", (w) => {
  w.service(vip, [A]);
  connect(w);
  w.service(vip, [B]);
  for (let i = 0; i < 3; i++) {
    evict(w);
    w.check({
      packet: tcp({ src: A, dst: client, flags: "A", ...FROM_LOCAL }),
      out: tcp({ src: vip, dst: client, flags: "A", ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC }),
      reason: "reply_delivered",
      events: ["event_session_restored"],
    });
    assert.equal(send(w, "PA"), A);
    assert.equal(w.session(flow)?.state, SESSION_STATE.ESTABLISHED);
  }
  assert.equal(copies(w), 2);
  assert.equal(w.maps.sources.get({ addr: CLIENT })?.assured, 1);
});

test("assured_add() takes no connection whose handshake is not over", (w) => {
  w.service(vip, [A]);
  send(w, "S");
  answer(w, "SA");
  send(w, "S", `${CLIENT}:40001`);
  send(w, "A", `${CLIENT}:40001`); // no SYN-ACK was seen
  send(w, "A", `${CLIENT}:40002`); // nor a SYN
  assert.equal(copies(w), 0);
});

const endings: Record<string, (w: World) => void> = {
  "both FINs, the client's first": (w) => (send(w, "FA"), answer(w, "FA")),
  "both FINs, the backend's first": (w) => (answer(w, "FA"), send(w, "FA")),
  "both FINs that cross, and their ACKs": (w) => {
    send(w, "FA");
    answer(w, "FA");
    send(w, "A");
    answer(w, "A");
  },
  "the client's reset": (w) => void send(w, "R"),
  "the backend's reset": (w) => answer(w, "RA"),
  "a FIN, evicted, the other FIN": (w) => (send(w, "FA"), evict(w), answer(w, "FA")),
  "evicted, a reset": (w) => (evict(w), answer(w, "R")),
};
for (const [ending, end] of Object.entries(endings)) {
  test(`tcp_note_close() leaves a connection to the LRU after ${ending}`, (w) => {
    w.service(vip, [A]);
    connect(w);
    end(w);
    assert.equal(w.session(flow)?.state, SESSION_STATE.CLOSED);
    assert.equal(copies(w), 0);
    assert.equal(w.maps.sources.get({ addr: CLIENT })?.assured, 0);
    w.service(vip, [B]);
    assert.equal(send(w, "S"), B);
  });
}

test("a half-closed connection stays assured, also for a SYN that opens it anew", (w) => {
  w.service(vip, [A]);
  connect(w);
  answer(w, "FA");
  evict(w);
  w.service(vip, [B]);
  assert.equal(send(w, "PA"), A);
  assert.equal(w.session(flow)?.state, SESSION_STATE.CLOSING);
  assert.equal(copies(w), 2);
  assert.equal(send(w, "S"), A, "its backend is asked");
  assert.equal(copies(w), 2);
  w.edit(flow, { asked: w.session(flow)!.asked - 1100 });
  assert.equal(send(w, "S"), B, "and does not reply");
  assert.equal(copies(w), 0);
});

test("assured_add() takes a UDP flow with a reply and packets a second later", (w) => {
  w.service(vip, [A], { proto: PROTO.UDP });
  const other = `${CLIENT}:40001`;
  for (const src of [client, other]) datagram(w, src);
  w.run(udp({ src: A, dst: client, ...FROM_LOCAL }));
  datagram(w, client);
  assert.equal(copies(w), 0, "it may be a question and its answer");
  for (const src of [client, other]) {
    w.age({ src, dst: vip, proto: PROTO.UDP }, 1.5);
    datagram(w, src);
  }
  assert.equal(copies(w), 2, "of the one that had a reply");
  evict(w);
  w.service(vip, [B], { proto: PROTO.UDP });
  datagram(w, client);
  assert.equal(w.target({ ...flow, proto: PROTO.UDP }), A);
});

test("session_evict() ends the copies, too", (w) => {
  w.service(vip, [A]);
  connect(w);
  send(w, "R");
  w.run(tcp({ src: client, dst: A, flags: "S" }));
  assert.equal(copies(w), 0);
  assert.equal(w.session(reply), undefined);
});

test("an expired connection is not restored as a living one", (w) => {
  w.service(vip, [A]);
  connect(w);
  w.age(flow, 6 * 86_400);
  w.service(vip, [B]);
  assert.equal(send(w, "PA"), B);
  assert.equal(copies(w), 0);
});

test("assured_add() leaves the connections of a source above its share to the LRU", (w) => {
  w.limit({ flows: 3 });
  w.service(vip, [A]);
  const before = w.counter("event_session_unassured");
  for (let port = 1; port <= 5; port++) connect(w, `${CLIENT}:${port}`);
  connect(w, "10.1.0.9:9");
  assert.equal(w.counter("event_session_unassured"), before + 2n);
  assert.equal(w.maps.sources.get({ addr: CLIENT })?.assured, 3);
  assert.equal(copies(w), 2 * 4, "another source has its own");
  send(w, "R", `${CLIENT}:1`);
  connect(w, `${CLIENT}:6`);
  assert.equal(copies(w), 2 * 4);
});

test("source_note() recycles a source's own oldest flow, and none that is assured", (w) => {
  w.limit({ flows: 4 });
  w.service(vip, [A]);
  w.service(vip, [A], { proto: PROTO.UDP });
  const proto = PROTO.UDP;
  connect(w, `${CLIENT}:1`);
  datagram(w, `${LOCAL}:5`);
  for (let port = 10; port < 30; port++) datagram(w, `${CLIENT}:${port}`);
  const left = w.forwardSessions().filter(([key]) => key.proto === proto)
    .map(([{ src, sport }]) => `${src}:${sport}`).sort();
  assert.deepEqual(left, [...[26, 27, 28, 29].map((port) => `${CLIENT}:${port}`), `${LOCAL}:5`]);
  assert.equal(w.sessions().length, 2 * (4 + 1 + 1), "their replies' entries go with them");
  assert.equal(w.target({ src: `${CLIENT}:1`, dst: vip }), A);
  assert.equal(copies(w), 2);
});

test("source_note() leaves a flow alone that was opened anew from the same port", (w) => {
  w.limit({ flows: 4 });
  w.service(vip, [A], { proto: PROTO.UDP });
  for (const port of [10, 11, 12, 13, 14]) datagram(w, `${CLIENT}:${port}`);
  for (const port of [11, 12]) {
    w.maps.sessions.deleteBatch([w.key({ src: `${CLIENT}:${port}`, dst: vip, proto: PROTO.UDP })]);
  }
  for (const port of [12, 11]) datagram(w, `${CLIENT}:${port}`);
  const left = w.forwardSessions().map(([{ sport }]) => sport).sort();
  assert.deepEqual(left, [11, 12, 13, 14]);
});

test("source_note() recycles no flow that another CPU put into its slot at the same time", (w) => {
  w.configure({ pod_cidr: "10.1.0.0", pod_mask: "255.255.0.0" });
  w.limit({ flows: 1 << 19 }); // its ring is not gone round in 8 ms
  w.service(vip, [A], { proto: PROTO.UDP });
  const session = (port: number) =>
    w.session({ src: `${CLIENT}:${port}`, dst: vip, proto: PROTO.UDP });
  let met = 0;
  for (let port = 1; port < 200; port += 2) {
    datagram(w, `${CLIENT}:${port}`);
    const first = session(port)!;
    const source = w.maps.sources.get({ addr: CLIENT })!;
    // As the other CPU reads it before this one has counted.
    w.maps.sources.set({ addr: CLIENT }, { ...source, created: source.created - 1 >>> 0 });
    datagram(w, `${CLIENT}:${port + 1}`);
    if (session(port + 1)!.created - first.created > 8_000_000n) continue; // a busy machine
    met++;
    assert.equal(session(port)?.created, first.created);
  }
  assert(met > 0);
});
