/** ICMP errors go with the flow they are about, header of the quoted packet included. */
import {
  be,
  type Bytes,
  CODE,
  concat,
  ICMP,
  icmp,
  icmpError,
  ipv4,
  pattern,
  PROTO,
  tcp,
  udp,
} from "../support/packet.ts";
import {
  CLIENT,
  CLIENT_MAC,
  FROM_LOCAL,
  GATEWAY,
  GATEWAY_MAC,
  INTO_CLIENT,
  INTO_LOCAL,
  LOCAL,
  LOCAL_MAC,
  REMOTE,
  test,
  VIP,
} from "../support/scene.ts";
import type { World } from "../support/world.ts";

const ROUTER = "192.0.2.254";
const client = `${CLIENT}:40000`;
const vip = `${VIP}:80`;
const local = `${LOCAL}:8080`;
const remote = `${REMOTE}:8080`;
const TOO_BIG = { type: ICMP.UNREACHABLE, code: CODE.FRAGMENTATION_NEEDED, rest: 1400 };
const NO_PORT = { type: ICMP.UNREACHABLE, code: CODE.PORT };

type Maker = (src: string, dst: string) => Bytes;

const transports: [name: string, proto: number, make: Maker][] = [
  ["TCP", PROTO.TCP, (src, dst) => tcp({ src, dst, flags: "A", payload: pattern(1000) })],
  ["UDP", PROTO.UDP, (src, dst) => udp({ src, dst, payload: pattern(1000) })],
  [
    "UDP without checksum",
    PROTO.UDP,
    (src, dst) => udp({ src, dst, payload: pattern(1000), checksum: "none" }),
  ],
  [
    "TCP with IP options",
    PROTO.TCP,
    (src, dst) => tcp({ src, dst, flags: "A", options: new Uint8Array(8).fill(1) }),
  ],
];

/** A service with this one backend, and the client's flow to it. */
function flow(w: World, backend: string, proto: number, make: Maker): void {
  w.service(vip, [backend], { proto });
  w.run(make(client, vip));
}

for (const [name, proto, make] of transports) {
  // The quotation ends within the transport header (RFC 792), behind it, or late (RFC 1812).
  for (const transport of [8, 28, 528]) {
    const packet = make(client, vip).slice(14);
    const options = { quote: Math.min((packet[0]! & 15) * 4 + transport, packet.length) };
    const quoted = `${name}, ${options.quote} bytes quoted`;

    test(`icmp_error_translate() tells the client of a router's too-big (${quoted})`, (w) => {
      flow(w, remote, proto, make);
      const error = { src: ROUTER, dst: CLIENT, ...TOO_BIG, ...options, ...INTO_CLIENT };
      w.check({
        program: "lbrp_to_pod",
        packet: icmpError({ ...error, about: make(client, remote) }),
        out: icmpError({ ...error, about: make(client, vip) }),
        reason: "icmp_error_routed",
      });
    });

    test(`icmp_error_translate() tells the client of a local backend's error (${quoted})`, (w) => {
      flow(w, local, proto, make);
      w.check({
        packet: icmpError({
          src: LOCAL,
          dst: CLIENT,
          about: make(client, local),
          ...NO_PORT,
          ...options,
          ...FROM_LOCAL,
        }),
        out: icmpError({
          src: VIP,
          dst: CLIENT,
          about: make(client, vip),
          ...NO_PORT,
          ...options,
          ...INTO_CLIENT,
        }),
        reason: "icmp_error_delivered",
      });
    });

    test(`icmp_error_translate() tells a backend of the client's error (${quoted})`, (w) => {
      for (
        const [backend, host, into] of [[local, LOCAL, INTO_LOCAL], [
          remote,
          REMOTE,
          undefined,
        ]] as const
      ) {
        w.maps.sessions.deleteBatch(w.maps.sessions.keys());
        flow(w, backend, proto, make);
        w.check({
          packet: icmpError({
            src: CLIENT,
            dst: VIP,
            about: make(vip, client),
            ...NO_PORT,
            ...options,
          }),
          out: icmpError({
            src: CLIENT,
            dst: host,
            about: make(backend, client),
            ...NO_PORT,
            ...options,
            ...into,
          }),
          reason: into ? "icmp_error_delivered" : "icmp_error_routed",
        });
      }
    });
  }
}

test("icmp_error_translate() restores the source port that was changed", (w) => {
  const [, proto, make] = transports[1]!;
  flow(w, remote, proto, make);
  w.service("10.96.0.11:80", [remote], { proto, id: 2 });
  w.run(make(client, "10.96.0.11:80"));
  const changed = w.session({ src: client, dst: "10.96.0.11:80", proto })!.sport;
  const error = { src: ROUTER, dst: CLIENT, ...TOO_BIG, ...INTO_CLIENT };
  w.check({
    program: "lbrp_to_pod",
    packet: icmpError({ ...error, about: make(`${CLIENT}:${changed}`, remote) }),
    out: icmpError({ ...error, about: make(client, "10.96.0.11:80") }),
    reason: "icmp_error_routed",
  });
});

test("icmp_error_translate() leads a hairpin's error back to the pod", (w) => {
  const [, proto, make] = transports[1]!;
  const self = `${CLIENT}:8080`;
  flow(w, self, proto, make);
  const { sport } = w.session({ src: client, dst: vip, proto })!;
  const home = { ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC };
  w.check({
    packet: icmpError({
      src: CLIENT,
      dst: GATEWAY,
      about: make(`${GATEWAY}:${sport}`, self),
      ...NO_PORT,
    }),
    out: icmpError({ src: VIP, dst: CLIENT, about: make(client, vip), ...NO_PORT, ...home }),
    reason: "icmp_error_delivered",
  });
});

test("icmp_error_translate() covers time exceeded and parameter problem", (w) => {
  const [, proto, make] = transports[0]!;
  flow(w, remote, proto, make);
  for (const type of [4, ICMP.TIME_EXCEEDED, 12]) {
    const error = { src: ROUTER, dst: CLIENT, type, ...INTO_CLIENT };
    w.check({
      program: "lbrp_to_pod",
      packet: icmpError({ ...error, about: make(client, remote) }),
      out: icmpError({ ...error, about: make(client, vip) }),
      reason: "icmp_error_routed",
    });
  }
});

test("icmp_error_translate() passes errors about unknown flows", (w) => {
  const [, proto, make] = transports[1]!;
  flow(w, remote, proto, make);
  const error = { src: ROUTER, dst: CLIENT, ...TOO_BIG, ...INTO_CLIENT };
  const about = make(client, remote);
  const other = make(`${CLIENT}:40001`, remote);
  const long = { quote: 548 };
  const inner = icmp({ src: CLIENT, dst: REMOTE, type: ICMP.ECHO, rest: 1 });
  // What is no header looks like the flow's, in the worst case.
  const lookalike = be([2, 40000], [2, 8080], [4, 0]);
  const middle = { offset: 1480, more: true };
  const later = ipv4({ src: client, dst: remote }, PROTO.UDP, lookalike, { df: false }, middle);
  const version = about.slice();
  version[14] = 0x65;
  const header = about.slice();
  header[14] = 0x44;
  const packets: Record<string, Bytes> = {
    "another flow": icmpError({ ...error, about: other, ...long }),
    "a ping": icmpError({ ...error, about: inner, ...long }),
    "a later fragment": icmpError({ ...error, about: later, ...long }),
    "no IPv4": icmpError({ ...error, about: version, ...long }),
    "a header too short": icmpError({ ...error, about: header, ...long }),
    "nothing": icmpError({ ...error, about, quote: 0 }),
    "half a header": icmpError({ ...error, about, quote: 19 }),
    "a header alone": icmpError({ ...error, about, quote: 20 }),
    "one port": icmpError({ ...error, about, quote: 22 }),
    "one port and padding": concat(icmpError({ ...error, about, quote: 22 }), be([2, 8080])),
    "options beyond the end": icmpError({
      ...error,
      about: udp({ src: client, dst: remote, options: new Uint8Array(40).fill(1) }),
      quote: 58,
    }),
    "a flow whose sender is not told": icmpError({ ...error, dst: LOCAL, about, ...long }),
  };
  for (const packet of Object.values(packets)) {
    w.check({ program: "lbrp_to_pod", packet, reason: "pass_icmp_error" });
  }
});

test("icmp_error_translate() finds the ports when just they are quoted", (w) => {
  const [, proto, make] = transports[1]!;
  flow(w, remote, proto, make);
  const error = { src: ROUTER, dst: CLIENT, ...TOO_BIG, quote: 24, ...INTO_CLIENT };
  w.check({
    program: "lbrp_to_pod",
    packet: icmpError({ ...error, about: make(client, remote) }),
    out: icmpError({ ...error, about: make(client, vip) }),
    reason: "icmp_error_routed",
  });
});

test("lbrp_from_pod() passes a client's error to a service address about no session", (w) => {
  const [, , make] = transports[0]!;
  w.service(vip, [remote]);
  w.check({
    packet: icmpError({ src: CLIENT, dst: VIP, about: make(vip, client), ...NO_PORT }),
    reason: "pass_icmp_error",
  });
});

test("lbrp_from_pod() delivers ICMP between pods as it is", (w) => {
  const direct = { ethDst: LOCAL_MAC };
  const [, , make] = transports[1]!;
  const packets = [
    icmp({ src: CLIENT, dst: LOCAL, type: ICMP.ECHO, rest: 1, ...direct }),
    icmp({ src: CLIENT, dst: LOCAL, type: ICMP.ECHO_REPLY, rest: 1, ...direct }),
    icmpError({ src: CLIENT, dst: LOCAL, about: make(local, client), ...NO_PORT, ...direct }),
  ];
  for (const packet of packets) {
    w.check({ packet, out: packet, reason: "direct_delivered" });
  }
});

test("lbrp_to_pod() passes pings into a pod", (w) => {
  w.check({
    program: "lbrp_to_pod",
    packet: icmp({ src: ROUTER, dst: CLIENT, type: ICMP.ECHO, rest: 1, ...INTO_CLIENT }),
    reason: "pass_icmp",
  });
});
