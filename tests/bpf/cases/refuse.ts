/** Services with no backends and ports that are no service: refused, not ignored. */
import assert from "node:assert/strict";
import { SERVICE_FLAG } from "../../../src/bpf/layout.ts";
import {
  CODE,
  concat,
  fragments,
  ICMP,
  icmp,
  icmpError,
  type IpOptions,
  pattern,
  PROTO,
  tcp,
  type TcpOptions,
  udp,
} from "../support/packet.ts";
import { CLIENT, CLIENT_MAC, GATEWAY_MAC, LOCAL, LOCAL_MAC, test, VIP } from "../support/scene.ts";

const client = `${CLIENT}:40000`;
const vip = `${VIP}:80`;

/** How an answer comes back to the client. */
const BACK = { ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC, ttl: 64, id: 0 } as const;

/** The reset that answers a segment of the client (RFC 9293, 3.10.7.1). */
function reset(flags: string, numbers: { seq: number; ack: number }, options: IpOptions = {}) {
  return tcp({ src: vip, dst: client, flags, window: 0, ...numbers, ...BACK, ...options });
}

const segments: [
  what: string,
  segment: Omit<TcpOptions, "src" | "dst">,
  flags: string,
  numbers: { seq: number; ack: number },
][] = [
  ["a SYN", { flags: "S", seq: 1000 }, "RA", { seq: 0, ack: 1001 }],
  [
    "a SYN with options",
    { flags: "S", seq: 1000, tcpOptions: new Uint8Array(20).fill(1) },
    "RA",
    { seq: 0, ack: 1001 },
  ],
  ["a SYN at the end of the numbers", { flags: "S", seq: 0xffffffff }, "RA", { seq: 0, ack: 0 }],
  ["a SYN with data", { flags: "S", seq: 5, payload: pattern(10) }, "RA", { seq: 0, ack: 16 }],
  ["data", { flags: "PA", seq: 9, ack: 777, payload: pattern(33) }, "R", { seq: 777, ack: 0 }],
  ["a full segment", { flags: "A", seq: 9, ack: 1, payload: pattern(1460) }, "R", {
    seq: 1,
    ack: 0,
  }],
  ["data without ACK", { flags: "P", seq: 9, payload: pattern(33) }, "RA", { seq: 0, ack: 42 }],
  ["a FIN without ACK", { flags: "F", seq: 9 }, "RA", { seq: 0, ack: 10 }],
  ["a SYN+FIN", { flags: "SF", seq: 9 }, "RA", { seq: 0, ack: 11 }],
  ["a segment without flags", { flags: "", seq: 9 }, "RA", { seq: 0, ack: 9 }],
];

for (const [what, segment, flags, numbers] of segments) {
  test(`reply_reset() answers ${what} with the reset that it asks for`, (w) => {
    w.service(vip, []);
    w.check({
      packet: tcp({ src: client, dst: vip, ...segment }),
      out: reset(flags, numbers),
      reason: "rejected_no_backend",
      events: [],
    });
    assert.deepEqual(w.sessions(), []);
  });
}

test("reply_reset() does not count Ethernet's padding as data", (w) => {
  w.service(vip, []);
  w.check({
    packet: tcp({ src: client, dst: vip, flags: "P", seq: 9, padding: 6 }),
    out: reset("RA", { seq: 0, ack: 9 }),
    reason: "rejected_no_backend",
  });
});

test("reply_reset() survives a data offset beyond the segment", (w) => {
  w.service(vip, []);
  const segment = tcp({ src: client, dst: vip, flags: "P", seq: 9, tcpOptions: pattern(4) });
  segment[14 + 20 + 12] = 0xf0;
  w.check({ packet: segment, out: reset("RA", { seq: 0, ack: 9 }), reason: "rejected_no_backend" });
});

test("reply_reset() clears IP options in its answer", (w) => {
  w.service(vip, []);
  const options = Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0); // record route
  w.check({
    packet: tcp({ src: client, dst: vip, flags: "S", seq: 1, options, tos: 0xb8, ttl: 9 }),
    out: reset("RA", { seq: 0, ack: 2 }, { options: new Uint8Array(8) }),
    reason: "rejected_no_backend",
  });
});

for (const flags of ["R", "RA"]) {
  test(`reject() never answers a reset (${flags})`, (w) => {
    w.service(vip, []);
    w.check({ packet: tcp({ src: client, dst: vip, flags }), reason: "drop_rst_no_session" });
    w.check({
      packet: tcp({ src: client, dst: `${VIP}:81`, flags }),
      reason: "drop_rst_no_session",
    });
  });
}

test("reject() answers only a source that is one host", (w) => {
  w.service(vip, [], { proto: PROTO.UDP });
  for (
    const src of ["0.0.0.0:1", "127.0.0.1:1", "224.0.0.1:1", "255.255.255.255:1", "240.0.0.1:1"]
  ) {
    w.check({ packet: udp({ src, dst: vip }), reason: "drop_invalid_source" });
  }
});

/** The port unreachable that answers `about`. */
function unreachable(about: Uint8Array<ArrayBuffer>, quote: number) {
  const error = { type: ICMP.UNREACHABLE, code: CODE.PORT, about, quote };
  return icmpError({ src: VIP, dst: CLIENT, tos: 0xc0, ...error, ...BACK });
}

const datagrams: [what: string, payload: number, quote: number][] = [
  ["an empty datagram", 0, 28],
  ["a small datagram", 5, 33],
  ["a datagram as long as an error may quote", 520, 548],
  ["a longer datagram", 521, 548],
  ["a full datagram", 1472, 548],
];
for (const [what, payload, quote] of datagrams) {
  test(`reply_icmp() answers ${what} with a port unreachable`, (w) => {
    w.service(vip, [], { proto: PROTO.UDP });
    const packet = udp({ src: client, dst: vip, payload: pattern(payload) });
    w.check({ packet, out: unreachable(packet, quote), reason: "rejected_no_backend", events: [] });
  });
}

test("reply_icmp() quotes IP options and leaves out Ethernet's padding", (w) => {
  w.service(vip, [], { proto: PROTO.UDP });
  const options = new Uint8Array(40).fill(1);
  const rest = { src: client, dst: vip, options, padding: 7, checksum: "none" as const };
  const packet = udp({ ...rest, payload: pattern(3) });
  w.check({ packet, out: unreachable(packet, 60 + 8 + 3), reason: "rejected_no_backend" });
});

test("reply_icmp() answers a first fragment; later ones are dropped", (w) => {
  w.service(vip, [], { proto: PROTO.UDP });
  const [first, second] = fragments(
    udp({ src: client, dst: vip, payload: pattern(2000), df: false }),
    1480,
  );
  w.check({ packet: first!, out: unreachable(first!, 548), reason: "rejected_no_backend" });
  w.check({ packet: second!, reason: "drop_fragment_overlap" });
});

test("lbrp_from_pod() refuses ports of a service address that are no service", (w) => {
  w.service(vip, [`${LOCAL}:8080`]);
  w.check({
    packet: tcp({ src: client, dst: `${VIP}:81`, flags: "S", seq: 1 }),
    out: tcp({ src: `${VIP}:81`, dst: client, flags: "RA", seq: 0, ack: 2, window: 0, ...BACK }),
    reason: "rejected_no_port",
  });
  const packet = udp({ src: client, dst: `${VIP}:80` });
  w.check({ packet, out: unreachable(packet, 33), reason: "rejected_no_port" });
});

test("lbrp_from_pod() accepts again when backends are back", (w) => {
  w.service(vip, []);
  w.run(tcp({ src: client, dst: vip, flags: "S" }));
  w.service(vip, [`${LOCAL}:8080`]);
  w.check({
    packet: tcp({ src: client, dst: vip, flags: "S" }),
    out: tcp({
      src: client,
      dst: `${LOCAL}:8080`,
      flags: "S",
      ethSrc: GATEWAY_MAC,
      ethDst: LOCAL_MAC,
    }),
    reason: "forward_delivered",
  });
});

test("reply_echo() answers pings of a service address", (w) => {
  w.service(vip, []);
  for (const length of [0, 1, 56, 1472]) {
    const message = { rest: 0x12340001, payload: pattern(length) };
    w.check({
      packet: icmp({ src: CLIENT, dst: VIP, type: ICMP.ECHO, ttl: 5, ...message }),
      out: icmp({
        src: VIP,
        dst: CLIENT,
        type: ICMP.ECHO_REPLY,
        ttl: 5,
        ...message,
        ethSrc: GATEWAY_MAC,
        ethDst: CLIENT_MAC,
      }),
      reason: "echo_replied",
    });
  }
});

test("reply_echo() answers a ping in fragments, fragment by fragment", (w) => {
  w.service(vip, []);
  const message = { rest: 0x12340001, payload: pattern(4000), df: false };
  const request = fragments(icmp({ src: CLIENT, dst: VIP, type: ICMP.ECHO, ...message }), 1480);
  const back = { ...message, ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC };
  const reply = fragments(icmp({ src: VIP, dst: CLIENT, type: ICMP.ECHO_REPLY, ...back }), 1480);
  // The checksum is in the first one and covers them all.
  assert.equal(concat(...request).length, concat(...reply).length);
  request.forEach((packet, i) => w.check({ packet, out: reply[i]!, reason: "echo_replied" }));
});

test("service_from_pod() drops what internalTrafficPolicy Local leaves without a backend", (w) => {
  for (const proto of [PROTO.TCP, PROTO.UDP]) {
    w.service(vip, [], { proto, flags: SERVICE_FLAG.LOCAL_ONLY });
    const flow = { src: client, dst: vip };
    w.check({
      packet: proto === PROTO.TCP ? tcp({ ...flow, flags: "S" }) : udp(flow),
      reason: "drop_no_local_backend",
      events: [],
    });
  }
});
