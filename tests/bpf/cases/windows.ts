/** Which resets, FINs and SYNs a session believes (RFC 5961, 5382, 6191), each beside its right twin. */
import assert from "node:assert/strict";
import { SESSION_STATE, SESSION_TCP_FLAG } from "../../../src/bpf/layout.ts";
import { monotonicNow } from "../../../src/linux/clock.ts";
import { be, patch, pattern, PROTO, pseudoSum, tcp, type TcpOptions } from "../support/packet.ts";
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
const { NEW, ESTABLISHED, CLOSING, CLOSED } = SESSION_STATE;
const IGNORED = "event_segment_ignored";

type Segment = Omit<TcpOptions, "src" | "dst">;

/** A segment of the client; the backend that the flow is at. */
function send(w: World, segment: Segment): string {
  w.run(tcp({ ...flow, ...segment }));
  return w.target(flow) ?? "none";
}
function answer(w: World, segment: Segment): void {
  w.run(tcp({ ...reply, ...segment, ...FROM_LOCAL }));
}
/** A segment of the client with a wrong checksum. It stays out of the outputs, of which all must be right. */
function broken(w: World, segment: Segment, sum = 0xbeef): void {
  w.run(patch(tcp({ ...flow, ...segment }), 50, be([2, sum])));
  w.outputs.pop();
}
/** Makes the SYN that the backend is to reply to so many milliseconds old. */
function asked(w: World, ms: number): void {
  w.edit(flow, { asked: Number(BigInt.asUintN(32, monotonicNow() / 1_000_000n)) - ms });
}
function state(w: World): number | undefined {
  return w.session(flow)?.state;
}

/** A connection in which the client has sent bytes 1001 to 1100, and the backend 5001 to 5200, all acknowledged. */
function connect(w: World): void {
  w.service(vip, [A]);
  send(w, { flags: "S", seq: 1000 });
  answer(w, { flags: "SA", seq: 5000, ack: 1001 });
  send(w, { flags: "A", seq: 1001, ack: 5001 });
  send(w, { flags: "PA", seq: 1001, ack: 5001, payload: pattern(100) });
  answer(w, { flags: "PA", seq: 5001, ack: 1101, payload: pattern(200) });
  send(w, { flags: "A", seq: 1101, ack: 5201 });
  assert.equal(state(w), ESTABLISHED);
}

/** Runs `step`, which the session must ignore, and count. */
function ignored(w: World, what: string, step: () => void): void {
  const { last_seen: _, ...before } = w.session(flow)!;
  const count = w.counter(IGNORED);
  step();
  const { last_seen: __, ...after } = w.session(flow)!;
  assert.deepEqual([after.state, after.dst], [before.state, before.dst], what);
  assert.equal(w.counter(IGNORED), count + 1n, what);
}

/** Sides of the connection: who sends, and the next number of its own and of the other. */
const sides = [
  ["client", send, 1101, 5201],
  ["backend", answer, 5201, 1101],
] as const;

for (const [who, from, seq, ack] of sides) {
  test(`tcp_reset() believes a ${who}'s RST with the number that is expected, and no other`, (w) => {
    connect(w);
    for (const wrong of [0, 1, seq - 1, seq + 1, seq + 1000, seq + 2 ** 31, ack]) {
      for (const flags of ["R", "RA"]) {
        ignored(w, `${flags} ${wrong}`, () => from(w, { flags, seq: wrong >>> 0, ack }));
      }
    }
    ignored(w, "checksum", () => broken(w, { flags: "R", seq: 1101 }));
    from(w, { flags: "R", seq });
    assert.equal(state(w), CLOSED);
    assert.deepEqual(w.maps.assured.keys(), []);
  });

  test(`tcp_segment() believes a ${who}'s FIN with the number that is expected, and no other`, (w) => {
    connect(w);
    for (const wrong of [0, seq - 1, seq + 1, seq + 70_000, seq + 2 ** 31]) {
      ignored(w, `${wrong}`, () => from(w, { flags: "FA", seq: wrong >>> 0, ack }));
    }
    from(w, { flags: "FA", seq, ack });
    assert.equal(state(w), CLOSING);
  });

  test(`tcp_segment() ends no connection by a forged FIN of the ${who} that is not acknowledged`, (w) => {
    connect(w);
    ignored(w, "FIN", () => from(w, { flags: "FA", seq: seq + 5000, ack, payload: pattern(9) }));
    const other = from === send ? answer : send;
    other(w, { flags: "A", seq: ack, ack: seq }); // the challenge ACK
    assert.equal(state(w), ESTABLISHED);
  });

  test(`a session that the ${who} seems to have reset lives on when that sends more`, (w) => {
    connect(w);
    from(w, { flags: "R", seq });
    assert.equal(state(w), CLOSED);
    const other = from === send ? answer : send;
    other(w, { flags: "PA", seq: ack, ack: seq, payload: pattern(10) });
    assert.equal(state(w), CLOSED, "what was on its way");
    from(w, { flags: "PA", seq, ack, payload: pattern(10) });
    assert.equal(state(w), ESTABLISHED);
    assert.equal(w.maps.assured.keys().length, 2);
    from(w, { flags: "FA", seq: seq + 10, ack });
    assert.equal(state(w), CLOSING);
    from(w, { flags: "PA", seq: seq + 10, ack, payload: pattern(10) });
    assert.equal(state(w), ESTABLISHED, "data beyond its FIN");
  });
}

test("tcp_reset() believes a RST right behind data that was not acknowledged yet", (w) => {
  connect(w);
  answer(w, { flags: "PA", seq: 5201, ack: 1101, payload: pattern(1000) });
  answer(w, { flags: "PA", seq: 6201, ack: 1101, payload: pattern(1000) });
  answer(w, { flags: "RA", seq: 7201, ack: 1101 });
  assert.equal(state(w), CLOSED);
});

test("tcp_reset() goes by the other end, whatever was sent with this one's address", (w) => {
  connect(w);
  // A gigabyte ahead, in segments that follow on each other, and a RST among them.
  const far = 1101 + 2 ** 30;
  for (const at of [far, far + 1000]) {
    send(w, { flags: "PA", seq: at, ack: 777, payload: pattern(1000) });
  }
  for (const seq of [far, far + 1500, far + 2000, 900_000]) {
    ignored(w, `${seq}`, () => send(w, { flags: "R", seq }));
  }
  // Around the expected number, but with an acknowledgment of what was never sent.
  send(w, { flags: "PA", seq: 1000, ack: 777, payload: pattern(900) });
  ignored(w, "acknowledgment", () => send(w, { flags: "R", seq: 1900 }));
  send(w, { flags: "PA", seq: 1101, ack: 5201, payload: pattern(50) });
  send(w, { flags: "R", seq: 1151 });
  assert.equal(state(w), CLOSED, "the client itself");
});

test("tcp_reset() believes the answer to a stray segment, also with numbers that go round", (w) => {
  w.service(vip, [A]);
  const isn = 2 ** 32 - 50;
  send(w, { flags: "S", seq: isn });
  answer(w, { flags: "SA", seq: 2 ** 32 - 1, ack: isn + 1 });
  send(w, { flags: "A", seq: isn + 1, ack: 0 });
  send(w, { flags: "PA", seq: isn + 1, ack: 0, payload: pattern(200) });
  answer(w, { flags: "A", seq: 0, ack: 151 });
  ignored(w, "before", () => answer(w, { flags: "R", seq: 2 ** 32 - 1 }));
  answer(w, { flags: "R", seq: 0 });
  assert.equal(state(w), CLOSED);
});

test("syn_is_refused() takes the SYN's own number for an answer, and no other", (w) => {
  w.service(vip, [A]);
  send(w, { flags: "S", seq: 1000 });
  for (const ack of [0, 1000, 1002, 9999]) {
    ignored(w, `${ack}`, () => answer(w, { flags: "RA", seq: 0, ack }));
  }
  ignored(w, "no ACK", () => answer(w, { flags: "R", seq: 1001 }));
  answer(w, { flags: "RA", seq: 0, ack: 1001 });
  assert.equal(state(w), CLOSED);
});

test("tcp_segment() believes a FIN behind a gap when it is acknowledged", (w) => {
  connect(w);
  const count = w.counter(IGNORED);
  answer(w, { flags: "FA", seq: 6201, ack: 1101, payload: pattern(100) }); // 5201 to 6200 are lost
  assert.deepEqual([state(w), w.counter(IGNORED)], [ESTABLISHED, count + 1n]);
  send(w, { flags: "A", seq: 1101, ack: 5201 });
  assert.equal(state(w), ESTABLISHED);
  answer(w, { flags: "A", seq: 5201, ack: 1101, payload: pattern(1000) });
  answer(w, { flags: "FA", seq: 6201, ack: 1101, payload: pattern(100) });
  send(w, { flags: "A", seq: 1101, ack: 6302 });
  assert.equal(state(w), CLOSING);
  send(w, { flags: "FA", seq: 1101, ack: 6302 });
  assert.equal(state(w), CLOSED);
});

test("tcp_segment() follows simultaneous FINs, and repeated ones", (w) => {
  connect(w);
  const count = w.counter(IGNORED);
  for (let i = 0; i < 2; i++) {
    send(w, { flags: "FA", seq: 1101, ack: 5201 });
    answer(w, { flags: "FA", seq: 5201, ack: 1101 });
  }
  assert.deepEqual([state(w), w.counter(IGNORED)], [CLOSED, count]);
  send(w, { flags: "A", seq: 1102, ack: 5202 });
  assert.equal(state(w), CLOSED);
});

test("keepalives, window probes and retransmissions leave the window as it is", (w) => {
  connect(w);
  for (const seq of [1100, 1001, 1050]) {
    send(w, { flags: "A", seq, ack: 5201, payload: pattern(seq === 1050 ? 20 : 0) });
    answer(w, { flags: "A", seq: 5201, ack: 1101 });
  }
  ignored(w, "beyond", () => send(w, { flags: "R", seq: 1102 }));
  send(w, { flags: "R", seq: 1101 });
  assert.equal(state(w), CLOSED);
});

test("a bad checksum makes no FIN, and no SYN of a closed connection", (w) => {
  connect(w);
  ignored(w, "FIN", () => broken(w, { flags: "FA", seq: 1101, ack: 5201 }));
  // As of a sender whose device adds the rest; but this one has been on a line.
  const pseudo = pseudoSum(flow, PROTO.TCP, 20);
  ignored(w, "FIN", () => broken(w, { flags: "FA", seq: 1101, ack: 5201 }, pseudo));
  answer(w, { flags: "R", seq: 5201 });
  w.service(vip, [B]);
  broken(w, { flags: "S", seq: 9000 });
  assert.equal(w.target(flow), A);
  const payload = pattern(1301);
  assert.equal(send(w, { flags: "S", seq: 9000, payload }), B, "any length of payload");
});

test("a SYN leaves a living session at its backend, however many come", (w) => {
  connect(w);
  w.service(vip, [B]);
  for (let i = 0; i < 1000; i++) {
    assert.equal(send(w, { flags: "S", seq: i * 4_000_000 }), A);
    asked(w, 0); // on a slow machine they take longer than a second
  }
  assert.equal(state(w), ESTABLISHED);
  answer(w, { flags: "A", seq: 5201, ack: 1101 }); // the challenge ACK of a second
  asked(w, 5000);
  assert.equal(send(w, { flags: "S", seq: 77 }), A, "it has replied since");
  ignored(w, "a refusal of another SYN", () => answer(w, { flags: "RA", seq: 0, ack: 79 }));
  asked(w, 500);
  assert.equal(send(w, { flags: "S", seq: 77 }), A, "not for a second yet");
  asked(w, 1000);
  assert.equal(send(w, { flags: "S", seq: 77 }), B, "it is silent");
  assert.equal(state(w), NEW);
  assert.equal(w.session({ src: B, dst: client })?.src, VIP);
});

test("a SYN leaves a half-closed session at its backend", (w) => {
  connect(w);
  w.service(vip, [B]);
  send(w, { flags: "FA", seq: 1101, ack: 5201 });
  assert.equal(send(w, { flags: "S", seq: 42 }), A);
  w.check({
    packet: tcp({ ...reply, flags: "PA", seq: 5201, ack: 1102, ...FROM_LOCAL }),
    out: tcp({
      src: vip,
      dst: client,
      flags: "PA",
      seq: 5201,
      ack: 1102,
      ethSrc: GATEWAY_MAC,
      ethDst: CLIENT_MAC,
    }),
    reason: "reply_delivered",
  });
  assert.equal(state(w), CLOSING);
});

test("a SYN stays with a silent backend that its Service still has", (w) => {
  connect(w);
  send(w, { flags: "S", seq: 42 });
  asked(w, 5000);
  assert.equal(send(w, { flags: "S", seq: 42 }), A);
  assert.equal(state(w), ESTABLISHED);
});

test("a SYN is answered by a backend that knows the connection no more", (w) => {
  connect(w);
  w.service(vip, [A, B]);
  send(w, { flags: "S", seq: 77_000 });
  answer(w, { flags: "SA", seq: 900_000, ack: 77_001 });
  send(w, { flags: "A", seq: 77_001, ack: 900_001 });
  assert.equal(state(w), ESTABLISHED);
  ignored(w, "of the former connection", () => send(w, { flags: "R", seq: 1101 }));
  send(w, { flags: "S", seq: 99_000 });
  answer(w, { flags: "RA", seq: 0, ack: 99_001 });
  assert.equal(state(w), CLOSED);
});

test("an unanswered handshake picks again when its Service has the backend no more", (w) => {
  w.service(vip, [A]);
  send(w, { flags: "S" });
  w.service(vip, [B]);
  assert.equal(send(w, { flags: "S" }), A, "a second SYN at once may be anybody's");
  asked(w, 1000);
  assert.equal(send(w, { flags: "S" }), B);
  assert.equal(state(w), NEW);
});

test("a SYN does not wait for a pod of this node that is gone", (w) => {
  w.configure({ pod_cidr: "10.1.0.0", pod_mask: "255.255.255.0" });
  connect(w);
  w.service(vip, [B]);
  assert.equal(send(w, { flags: "S", seq: 5 }), A);
  w.maps.endpoints.deleteBatch([{ addr: LOCAL }]);
  assert.equal(send(w, { flags: "S", seq: 5 }), B);
});

test("a converted session learns its window from the next segments", (w) => {
  connect(w);
  const unknown = { tcp: 0, seq_end: 0, seq_run: 0, ack: 0, asked: 0 };
  w.edit(flow, unknown);
  w.edit(reply, unknown);
  for (const seq of [0, 1101]) ignored(w, `${seq}`, () => send(w, { flags: "R", seq }));
  answer(w, { flags: "A", seq: 5201, ack: 1101 });
  ignored(w, "another", () => send(w, { flags: "R", seq: 1100 }));
  send(w, { flags: "R", seq: 1101 });
  assert.equal(state(w), CLOSED);
});

test("a session that was closed before it was converted lives on when its client sends", (w) => {
  connect(w);
  w.edit(flow, { state: CLOSED, tcp: SESSION_TCP_FLAG.WATCH });
  send(w, { flags: "A", seq: 1101, ack: 5201 });
  assert.equal(state(w), ESTABLISHED);
});
