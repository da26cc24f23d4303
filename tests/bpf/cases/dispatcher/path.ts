/** What is too big for its way, or has come to the end of its time. */
import assert from "node:assert/strict";
import {
  type Bytes,
  CODE,
  fragments,
  ICMP,
  icmpError,
  pattern,
  PROTO,
  tcp,
  udp,
} from "../../support/packet.ts";
import {
  BACK,
  direct,
  external,
  FORWARDED,
  IN,
  NODE,
  OUTSIDE,
  OVERLAY_MTU,
  PEER_MAC,
  TO_PEER,
} from "../../support/node.ts";
import { FROM_LOCAL, LOCAL, REMOTE, test } from "../../support/scene.ts";
import { UPLINK, type World } from "../../support/world.ts";

const program = "k8sd_from_uplink";
const client = `${OUTSIDE}:50000`;
const port = `${NODE}:30053`;
const backend = `${REMOTE}:5353`;
/** Bytes of an IP and a UDP header. */
const HEADERS = 28;

function serve(w: World, backend: string): void {
  external(w, "0.0.0.0:30053", [backend], { proto: PROTO.UDP });
  w.run(udp({ src: client, dst: port, ...IN }), program);
}

function source(w: World): string {
  const { src, sport } = w.session({ src: client, dst: port, proto: PROTO.UDP })!;
  return `${src}:${sport}`;
}

/** The error about a client's packet: its MTU is too large, unless `error` says another thing. */
const told = (about: Bytes, error: Partial<Parameters<typeof icmpError>[0]>) =>
  icmpError({
    type: ICMP.UNREACHABLE,
    code: CODE.FRAGMENTATION_NEEDED,
    quote: 548,
    ...error,
    src: NODE,
    dst: OUTSIDE,
    about,
    tos: 0xc0,
    id: 0,
    ...BACK,
  });

test("reject_path() tells a client what the overlay's MTU is", (w) => {
  serve(w, backend);
  const fits = pattern(OVERLAY_MTU - HEADERS), big = pattern(OVERLAY_MTU - HEADERS + 1);
  w.check({
    program,
    packet: udp({ src: client, dst: port, payload: fits, ...IN }),
    out: udp({ src: source(w), dst: backend, payload: fits, ...TO_PEER }),
    reason: "forward_sent",
  });
  const about = udp({ src: client, dst: port, payload: big, ...IN });
  w.check({
    program,
    packet: about,
    out: told(about, { rest: OVERLAY_MTU }),
    reason: "replied_too_big",
    events: [],
  });
});

test("forward_snat() leaves it to the tunnel to cut up what may be cut", (w) => {
  serve(w, backend);
  const big = { payload: pattern(1472), df: false };
  w.check({
    program,
    packet: udp({ src: client, dst: port, ...big, ...IN }),
    out: udp({ src: source(w), dst: backend, ...big, ...TO_PEER }),
    reason: "forward_sent",
  });
});

test("reject_path() tells a client what a direct way's MTU is, also one whose packet may be cut", (w) => {
  direct(w);
  serve(w, backend);
  const about = udp({ src: client, dst: port, payload: pattern(1600), df: false, ...IN });
  w.check({
    program,
    packet: about,
    out: told(about, { rest: 1500 }),
    reason: "replied_too_big",
  });
});

test("reject_path() tells a client that its packet's time is up", (w) => {
  serve(w, backend);
  const about = udp({ src: client, dst: port, ttl: 1, ...IN });
  w.check({
    program,
    packet: about,
    out: told(about, { quote: about.length - 14, type: ICMP.TIME_EXCEEDED, code: 0 }),
    reason: "replied_ttl_expired",
  });
});

test("icmp_allowed() does not keep path MTU discovery from anyone", (w) => {
  serve(w, backend);
  const slow = udp({ src: client, dst: port, ttl: 1, ...IN });
  const limited = w.counter("drop_rate_limited");
  for (let i = 0; w.counter("drop_rate_limited") === limited; i++) {
    assert.ok(i < 10_000);
    w.run(slow, program);
  }
  const about = udp({ src: client, dst: port, payload: pattern(OVERLAY_MTU), ...IN });
  for (let i = 0; i < 100; i++) {
    const out = told(about, { rest: OVERLAY_MTU });
    w.check({ program, packet: about, out, reason: "replied_too_big", events: [] });
  }
});

test("reject_path() tells another node's pod what the uplink's MTU is", (w) => {
  w.maps.uplinks.set({ ifindex: UPLINK }, { addr: NODE, mtu: 1400 });
  serve(w, backend);
  const big = { src: backend, dst: source(w), payload: pattern(1400 - HEADERS + 1), ...IN };
  const [from] = source(w).split(":");
  // Only the stack could cut one that may be cut, and it would not forward this one.
  const whole = [udp(big), udp({ ...big, df: false })];
  const datagram = udp({ ...big, payload: pattern(3000), df: false });
  const [first, later] = fragments(datagram, 1400);
  for (const about of [...whole, first!]) {
    w.check({
      program: "k8sd_from_overlay",
      packet: about,
      out: icmpError({
        src: from!,
        dst: REMOTE,
        about,
        quote: 548,
        type: ICMP.UNREACHABLE,
        code: CODE.FRAGMENTATION_NEEDED,
        rest: 1400,
        tos: 0xc0,
        id: 0,
        ttl: 63,
        // Turned around, then readdressed to the pod's node.
        ethSrc: IN.ethSrc!,
        ethDst: PEER_MAC,
      }),
      reason: "replied_too_big",
    });
  }
  w.check({ program: "k8sd_from_overlay", packet: later!, reason: "drop_too_big" });
  const fits = pattern(1400 - HEADERS);
  w.check({
    program: "k8sd_from_overlay",
    packet: udp({ src: backend, dst: source(w), payload: fits, ...IN }),
    out: udp({ src: port, dst: client, payload: fits, ...FORWARDED }),
    reason: "reply_sent",
  });
});

test("lbrp_from_pod() leaves a reply that is too big for the uplink to the stack", (w) => {
  w.maps.uplinks.set({ ifindex: UPLINK }, { addr: NODE, mtu: 1400 });
  serve(w, `${LOCAL}:5353`);
  const flow = { src: `${LOCAL}:5353`, dst: client, ...FROM_LOCAL };
  const big = pattern(1400 - HEADERS + 1);
  w.check({ packet: udp({ ...flow, payload: big }), reason: "pass_too_big" });
  w.check({ packet: udp({ ...flow, ttl: 1 }), reason: "pass_ttl_expired" });
});

test("segment_len() lets a pod's client far away have whole segments", (w) => {
  external(w, "0.0.0.0:30080", [`${LOCAL}:8080`]);
  w.run(tcp({ src: client, dst: `${NODE}:30080`, flags: "S", ...IN }), program);
  const flow = { src: `${LOCAL}:8080`, dst: client, flags: "A", ...FROM_LOCAL };
  const whole = pattern(1460);
  w.check({
    packet: tcp({ ...flow, payload: whole }),
    out: tcp({ ...flow, src: `${NODE}:30080`, payload: whole, ttl: 63 }),
    reason: "reply_sent",
  });
  w.check({ packet: tcp({ ...flow, payload: pattern(1461) }), reason: "pass_too_big" });
});
