/** Flows to services and back: addresses, ports, checksums, frames. */
import { PROTO, tcp, text, udp } from "../support/packet.ts";
import {
  CLIENT,
  CLIENT_MAC,
  FROM_LOCAL,
  INTO_CLIENT,
  INTO_LOCAL,
  LOCAL,
  LOCAL_MAC,
  REMOTE,
  test,
  VIP,
} from "../support/scene.ts";

const client = `${CLIENT}:40000`;
const vip = `${VIP}:80`;

test("lbrp_from_pod() sends a TCP connection to a remote backend up the stack", (w) => {
  w.service(vip, [`${REMOTE}:8080`]);
  w.check({
    packet: tcp({ src: client, dst: vip, flags: "S", seq: 7 }),
    out: tcp({ src: client, dst: `${REMOTE}:8080`, flags: "S", seq: 7 }),
    reason: "forward_routed",
    events: ["event_session_created"],
  });
  w.check({
    packet: tcp({ src: client, dst: vip, flags: "PA", seq: 8, ack: 5, payload: text("GET /") }),
    out: tcp({
      src: client,
      dst: `${REMOTE}:8080`,
      flags: "PA",
      seq: 8,
      ack: 5,
      payload: text("GET /"),
    }),
    reason: "forward_routed",
    events: [],
  });
});

test("lbrp_from_pod() hands a flow straight to a backend on this node", (w) => {
  w.service(vip, [`${LOCAL}:8080`]);
  w.check({
    packet: tcp({ src: client, dst: vip, flags: "S" }),
    out: tcp({ src: client, dst: `${LOCAL}:8080`, flags: "S", ...INTO_LOCAL }),
    reason: "forward_delivered",
  });
});

test("lbrp_from_pod() gives a local backend's reply the service's address", (w) => {
  w.service(vip, [`${LOCAL}:8080`]);
  w.run(tcp({ src: client, dst: vip, flags: "S" }));
  w.check({
    packet: tcp({ src: `${LOCAL}:8080`, dst: client, flags: "SA", ...FROM_LOCAL }),
    out: tcp({ src: vip, dst: client, flags: "SA", ...INTO_CLIENT }),
    reason: "reply_delivered",
    events: [],
  });
});

test(
  "lbrp_from_pod() leaves the MAC addresses of a frame that is for the pod itself",
  (w) => {
    w.service(vip, [`${LOCAL}:8080`]);
    w.run(tcp({ src: client, dst: vip, flags: "S" }));
    const direct = { ethSrc: LOCAL_MAC, ethDst: CLIENT_MAC };
    w.check({
      packet: tcp({ src: `${LOCAL}:8080`, dst: client, flags: "SA", ...direct }),
      out: tcp({ src: vip, dst: client, flags: "SA", ...direct }),
      reason: "reply_delivered",
    });
  },
);

test("lbrp_from_pod() sends a local backend's reply to a remote client up the stack", (w) => {
  // The client's node has the session; here the packet has none.
  w.service(vip, [`${LOCAL}:8080`]);
  w.check({
    packet: tcp({ src: `${LOCAL}:8080`, dst: `${REMOTE}:40000`, flags: "SA", ...FROM_LOCAL }),
    reason: "pass_no_service",
  });
});

test("lbrp_to_pod() gives a remote backend's reply the service's address", (w) => {
  w.service(vip, [`${REMOTE}:8080`]);
  w.run(tcp({ src: client, dst: vip, flags: "S" }));
  w.check({
    program: "lbrp_to_pod",
    packet: tcp({ src: `${REMOTE}:8080`, dst: client, flags: "SA", ttl: 62, ...INTO_CLIENT }),
    out: tcp({ src: vip, dst: client, flags: "SA", ttl: 62, ...INTO_CLIENT }),
    reason: "reply_routed",
  });
});

test("lbrp_to_pod() passes what is no session's reply", (w) => {
  w.service(vip, [`${REMOTE}:8080`]);
  w.run(tcp({ src: client, dst: vip, flags: "S" }));
  w.check({
    program: "lbrp_to_pod",
    packet: tcp({ src: `${REMOTE}:8081`, dst: client, flags: "SA", ...INTO_CLIENT }),
    reason: "pass_no_session",
  });
  // Not even one that looks like the client's own packet.
  w.check({
    program: "lbrp_to_pod",
    packet: tcp({ src: client, dst: vip, flags: "A" }),
    reason: "pass_no_session",
  });
});

test("lbrp_from_pod() translates when the backend's port is the service's", (w) => {
  w.service(vip, [`${REMOTE}:80`]);
  w.check({
    packet: tcp({ src: client, dst: vip, flags: "S" }),
    out: tcp({ src: client, dst: `${REMOTE}:80`, flags: "S" }),
    reason: "forward_routed",
  });
});

test("lbrp_from_pod() translates UDP both ways", (w) => {
  w.service(`${VIP}:53`, [`${LOCAL}:5353`], { proto: PROTO.UDP });
  w.check({
    packet: udp({ src: client, dst: `${VIP}:53`, payload: text("odd") }),
    out: udp({ src: client, dst: `${LOCAL}:5353`, payload: text("odd"), ...INTO_LOCAL }),
    reason: "forward_delivered",
  });
  w.check({
    packet: udp({ src: `${LOCAL}:5353`, dst: client, ...FROM_LOCAL }),
    out: udp({ src: `${VIP}:53`, dst: client, ...INTO_CLIENT }),
    reason: "reply_delivered",
  });
});

test("lbrp_from_pod() keeps a UDP checksum of zero", (w) => {
  w.service(vip, [`${REMOTE}:5353`], { proto: PROTO.UDP });
  w.check({
    packet: udp({ src: client, dst: vip, checksum: "none" }),
    out: udp({ src: client, dst: `${REMOTE}:5353`, checksum: "none" }),
    reason: "forward_routed",
  });
});

test("lbrp_from_pod() writes a UDP checksum that comes out as zero as 0xffff", (w) => {
  w.service(vip, [`${REMOTE}:5353`], { proto: PROTO.UDP });
  // Search the payload whose translated checksum is that one (RFC 768 has no other zero).
  for (let word = 0; word < 0x10000; word++) {
    const payload = Uint8Array.of(word >> 8, word & 0xff);
    const out = udp({ src: client, dst: `${REMOTE}:5353`, payload });
    if (out[40] !== 0xff || out[41] !== 0xff) continue;
    w.check({ packet: udp({ src: client, dst: vip, payload }), out, reason: "forward_routed" });
    return;
  }
  throw new Error("no such payload");
});

test("lbrp_from_pod() finds the ports behind IP options", (w) => {
  w.service(vip, [`${LOCAL}:8080`]);
  for (const words of [1, 5, 10]) {
    const options = new Uint8Array(4 * words).fill(1); // no-operation
    w.check({
      packet: tcp({ src: `${CLIENT}:${41000 + words}`, dst: vip, flags: "S", options }),
      out: tcp({
        src: `${CLIENT}:${41000 + words}`,
        dst: `${LOCAL}:8080`,
        flags: "S",
        options,
        ...INTO_LOCAL,
      }),
      reason: "forward_delivered",
    });
  }
});

test("lbrp_from_pod() keeps TTL, TOS, identification and Ethernet's padding", (w) => {
  w.service(vip, [`${REMOTE}:8080`]);
  const rest = { flags: "S", ttl: 3, tos: 0xb8, id: 0, df: false, padding: 6 };
  w.check({
    packet: tcp({ src: client, dst: vip, ...rest }),
    out: tcp({ src: client, dst: `${REMOTE}:8080`, ...rest }),
    reason: "forward_routed",
  });
});

test("lbrp_from_pod() translates every source port and payload length alike", (w) => {
  w.service(vip, [`${REMOTE}:8080`]);
  for (let i = 0; i < 64; i++) {
    const src = `${CLIENT}:${1 + i * 1000}`;
    const payload = new Uint8Array(i * 3).fill(i * 5);
    w.check({
      packet: tcp({ src, dst: vip, flags: "S", seq: i * 0x01010101, payload }),
      out: tcp({ src, dst: `${REMOTE}:8080`, flags: "S", seq: i * 0x01010101, payload }),
      reason: "forward_routed",
    });
  }
});

test("lbrp_from_pod() delivers from pod to pod where no service is meant", (w) => {
  const direct = { ethSrc: CLIENT_MAC, ethDst: LOCAL_MAC };
  w.check({
    packet: tcp({ src: client, dst: `${LOCAL}:8080`, flags: "S", ...direct }),
    out: tcp({ src: client, dst: `${LOCAL}:8080`, flags: "S", ...direct }),
    reason: "direct_delivered",
    events: [],
  });
  // A pod whose veth has no bridge sends everything to its gateway.
  w.check({
    packet: udp({ src: client, dst: `${LOCAL}:53` }),
    out: udp({ src: client, dst: `${LOCAL}:53`, ...INTO_LOCAL }),
    reason: "direct_delivered",
    events: [],
  });
});
