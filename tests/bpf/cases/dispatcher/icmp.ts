/** ICMP errors about flows from and to the world. */
import {
  type Bytes,
  CODE,
  ICMP,
  icmp,
  icmpError,
  pattern,
  PROTO,
  tcp,
  udp,
} from "../../support/packet.ts";
import {
  external,
  FORWARDED,
  IN,
  into,
  LEAVING,
  NODE,
  OTHER_NODE,
  OUTSIDE,
  TO_PEER,
} from "../../support/node.ts";
import {
  CLIENT,
  CLIENT_MAC,
  FROM_LOCAL,
  LOCAL,
  LOCAL_MAC,
  REMOTE,
  test,
  VIP,
} from "../../support/scene.ts";
import { UPLINK, type World } from "../../support/world.ts";

const ROUTER = "203.0.113.1";
const program = "k8sd_from_uplink";
const client = `${OUTSIDE}:50000`;
const port = `${NODE}:30053`;
const TOO_BIG = { type: ICMP.UNREACHABLE, code: CODE.FRAGMENTATION_NEEDED, rest: 1400 };
const NO_PORT = { type: ICMP.UNREACHABLE, code: CODE.PORT };

type Maker = (src: string, dst: string) => Bytes;
const transports: [name: string, proto: number, make: Maker][] = [
  ["TCP", PROTO.TCP, (src, dst) => tcp({ src, dst, flags: "A", payload: pattern(1000), ...IN })],
  ["UDP", PROTO.UDP, (src, dst) => udp({ src, dst, payload: pattern(1000), ...IN })],
];

/** A client's flow; its source as the backend sees it. */
function flow(w: World, backend: string, proto: number, make: Maker): string {
  external(w, "0.0.0.0:30053", [backend], { proto });
  w.run(make(client, port), program);
  const { src, sport } = w.session({ src: client, dst: port, proto })!;
  return `${src}:${sport}`;
}

for (const [name, proto, make] of transports) {
  for (const quote of [28, 548]) {
    const said = `${name}, ${quote} bytes quoted`;

    test(`icmp_error_inbound() tells a pod of a router's too-big (${said})`, (w) => {
      flow(w, `${LOCAL}:5353`, proto, make);
      const error = { src: ROUTER, ...TOO_BIG, quote };
      w.check({
        program,
        packet: icmpError({ ...error, dst: NODE, about: make(port, client), ...IN }),
        out: icmpError({
          ...error,
          dst: LOCAL,
          about: make(`${LOCAL}:5353`, client),
          ...into(LOCAL_MAC),
        }),
        reason: "icmp_error_delivered",
      });
    });

    test(`icmp_error_inbound() tells another node's pod of it (${said})`, (w) => {
      const source = flow(w, `${REMOTE}:5353`, proto, make);
      const error = { src: ROUTER, ...TOO_BIG, quote };
      w.check({
        program,
        packet: icmpError({ ...error, dst: NODE, about: make(port, client), ...IN }),
        out: icmpError({
          ...error,
          dst: REMOTE,
          about: make(`${REMOTE}:5353`, source),
          ...TO_PEER,
        }),
        reason: "icmp_error_sent",
      });
    });

    test(`icmp_error_from_pod() tells a client outside of a pod's error (${said})`, (w) => {
      flow(w, `${LOCAL}:5353`, proto, make);
      const error = { ...NO_PORT, dst: OUTSIDE, quote };
      w.check({
        packet: icmpError({
          ...error,
          src: LOCAL,
          about: make(client, `${LOCAL}:5353`),
          ...FROM_LOCAL,
        }),
        out: icmpError({
          ...error,
          src: NODE,
          about: make(client, port),
          ...FROM_LOCAL,
          ...LEAVING,
        }),
        reason: "icmp_error_sent",
      });
    });

    test(`icmp_error_inbound() tells a client outside of a far pod's (${said})`, (w) => {
      const source = flow(w, `${REMOTE}:5353`, proto, make);
      const error = { ...NO_PORT, quote };
      w.check({
        program: "k8sd_from_overlay",
        packet: icmpError({
          ...error,
          src: REMOTE,
          dst: source.split(":")[0]!,
          about: make(source, `${REMOTE}:5353`),
          ...IN,
        }),
        out: icmpError({
          ...error,
          src: NODE,
          dst: OUTSIDE,
          about: make(client, port),
          ...FORWARDED,
        }),
        reason: "icmp_error_sent",
      });
    });

    test(`icmp_error_outbound() tells a client of the node's own error (${said})`, (w) => {
      flow(w, `${NODE}:5353`, proto, make);
      const error = { ...NO_PORT, src: NODE, dst: OUTSIDE, quote };
      w.check({
        program: "k8sd_to_uplink",
        packet: icmpError({ ...error, about: make(client, `${NODE}:5353`) }),
        out: icmpError({ ...error, about: make(client, port) }),
        reason: "icmp_error_routed",
      });
    });

    test(`icmp_error_inbound() tells a masqueraded pod of a too-big (${said})`, (w) => {
      const [pod, world] = [`${CLIENT}:40000`, `${OUTSIDE}:53`];
      w.run(make(pod, world), "k8sd_to_uplink");
      const { src, sport } = w.session({ src: pod, dst: world, proto, zone: 1 })!;
      const error = { src: ROUTER, ...TOO_BIG, quote };
      w.check({
        program,
        packet: icmpError({ ...error, dst: NODE, about: make(`${src}:${sport}`, world), ...IN }),
        out: icmpError({ ...error, dst: CLIENT, about: make(pod, world), ...into(CLIENT_MAC) }),
        reason: "icmp_error_delivered",
      });
    });

    test(`icmp_error_outbound() tells the world of a masqueraded pod's (${said})`, (w) => {
      const [pod, world] = [`${CLIENT}:40000`, `${OUTSIDE}:53`];
      w.run(make(pod, world), "k8sd_to_uplink");
      const { src, sport } = w.session({ src: pod, dst: world, proto, zone: 1 })!;
      const error = { ...NO_PORT, dst: OUTSIDE, quote };
      w.check({
        program: "k8sd_to_uplink",
        packet: icmpError({ ...error, src: CLIENT, about: make(world, pod) }),
        out: icmpError({ ...error, src: NODE, about: make(world, `${src}:${sport}`) }),
        reason: "icmp_error_routed",
      });
    });
  }
}

test("quote_ports() finds the flow of a ping that an error is about", (w) => {
  const make = (src: string, id: number): Bytes =>
    icmp({ src, dst: OUTSIDE, type: ICMP.ECHO, rest: id << 16 | 1, payload: pattern(40), ...IN });
  w.run(make(CLIENT, 77), "k8sd_to_uplink");
  const flow = { src: `${CLIENT}:77`, dst: `${OUTSIDE}:0`, proto: PROTO.ICMP, zone: 1 };
  const id = w.session(flow)!.sport;
  for (const quote of [28, 68]) {
    const error = { src: ROUTER, type: ICMP.TIME_EXCEEDED, quote };
    w.check({
      program,
      packet: icmpError({ ...error, dst: NODE, about: make(NODE, id), ...IN }),
      out: icmpError({ ...error, dst: CLIENT, about: make(CLIENT, 77), ...into(CLIENT_MAC) }),
      reason: "icmp_error_delivered",
    });
  }
});

test("icmp_error_inbound() undoes both translations of a flow", (w) => {
  // A pod asks a service whose backend is in the network of another node.
  const make = transports[1]![2];
  w.service(`${VIP}:53`, [`${OTHER_NODE}:5353`], { proto: PROTO.UDP });
  w.run(make(`${CLIENT}:40000`, `${VIP}:53`));
  w.run(make(`${CLIENT}:40000`, `${OTHER_NODE}:5353`), "k8sd_to_uplink");
  const flow = { src: `${CLIENT}:40000`, dst: `${OTHER_NODE}:5353`, proto: PROTO.UDP, zone: 1 };
  const { sport } = w.session(flow)!;
  const error = { src: ROUTER, ...TOO_BIG, quote: 548 };
  w.check({
    program,
    packet: icmpError({
      ...error,
      dst: NODE,
      about: make(`${NODE}:${sport}`, `${OTHER_NODE}:5353`),
      ...IN,
    }),
    out: icmpError({
      ...error,
      dst: CLIENT,
      about: make(`${CLIENT}:40000`, `${VIP}:53`),
      ...into(CLIENT_MAC),
    }),
    reason: "icmp_error_delivered",
  });
});

test("icmp_error_outbound() sends an error out by its flow's uplink", (w) => {
  const make = transports[1]![2];
  flow(w, `${NODE}:5353`, PROTO.UDP, make);
  w.edit({ src: `${NODE}:5353`, dst: client, proto: PROTO.UDP }, { ifindex: UPLINK + 1 });
  const error = { ...NO_PORT, src: NODE, dst: OUTSIDE };
  w.check({
    program: "k8sd_to_uplink",
    packet: icmpError({ ...error, about: make(client, `${NODE}:5353`) }),
    out: icmpError({ ...error, about: make(client, port) }),
    reason: "icmp_error_sent",
  });
});

test("uplink_error() drops an error whose own time is up", (w) => {
  const make = transports[1]![2];
  flow(w, `${LOCAL}:5353`, PROTO.UDP, make);
  w.check({
    packet: icmpError({
      ...NO_PORT,
      src: LOCAL,
      dst: OUTSIDE,
      about: make(client, `${LOCAL}:5353`),
      ttl: 1,
      ethSrc: LOCAL_MAC,
    }),
    reason: "drop_ttl_expired",
  });
});

test("ICMP errors about unknown flows pass, or go to the pod that they are for", (w) => {
  const make = transports[1]![2];
  const error = { src: ROUTER, ...TOO_BIG };
  const about = make(`${NODE}:1000`, client);
  w.check({
    program,
    packet: icmpError({ ...error, dst: NODE, about, ...IN }),
    reason: "pass_icmp_error",
  });
  w.check({
    program: "k8sd_to_uplink",
    packet: icmpError({ ...error, src: NODE, dst: OUTSIDE, about: make(client, `${NODE}:1`) }),
    reason: "pass_icmp_error",
  });
  const direct = { ...error, dst: LOCAL, about: make(`${LOCAL}:1000`, `${REMOTE}:1`) };
  for (const program of ["k8sd_from_uplink", "k8sd_from_overlay"] as const) {
    w.check({
      program,
      packet: icmpError({ ...direct, ...IN }),
      out: icmpError({ ...direct, ...into(LOCAL_MAC) }),
      reason: "direct_delivered",
    });
  }
});
