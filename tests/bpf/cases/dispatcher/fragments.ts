/** Fragments of flows from and to the world. */
import {
  fragments,
  ICMP,
  icmp,
  type IpOptions,
  pattern,
  PROTO,
  udp,
} from "../../support/packet.ts";
import {
  BACK,
  external,
  FORWARDED,
  IN,
  into,
  LEAVING,
  NODE,
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
} from "../../support/scene.ts";
import { UPLINK, type World } from "../../support/world.ts";

const program = "k8sd_from_uplink";
const client = `${OUTSIDE}:50000`;
const port = `${NODE}:30053`;

/** A datagram in three fragments, which go the overlay's way too. */
function cut(src: string, dst: string, options: IpOptions = {}) {
  return fragments(udp({ src, dst, payload: pattern(4000), df: false, ...options }), 1400);
}

function serve(w: World, backend: string): void {
  external(w, "0.0.0.0:30053", [backend], { proto: PROTO.UDP });
}

test("forward_inbound() leads all fragments to a pod of this node", (w) => {
  serve(w, `${LOCAL}:5353`);
  const out = cut(client, `${LOCAL}:5353`, into(LOCAL_MAC));
  cut(client, port, IN).forEach((packet, i) =>
    w.check({ program, packet, out: out[i]!, reason: "forward_delivered" })
  );
});

test("forward_inbound() leads all fragments to another node's pod, and back", (w) => {
  serve(w, `${REMOTE}:5353`);
  w.run(udp({ src: client, dst: port, ...IN }), program);
  const { src, sport } = w.session({ src: client, dst: port, proto: PROTO.UDP })!;
  const out = cut(`${src}:${sport}`, `${REMOTE}:5353`, TO_PEER);
  cut(client, port, IN).forEach((packet, i) =>
    w.check({ program, packet, out: out[i]!, reason: "forward_sent" })
  );
  const answer = cut(port, client, FORWARDED);
  cut(`${REMOTE}:5353`, `${src}:${sport}`, IN).forEach((packet, i) =>
    w.check({ program: "k8sd_from_overlay", packet, out: answer[i]!, reason: "reply_sent" })
  );
});

test("lbrp_from_pod() sends all fragments of a reply out by the uplink", (w) => {
  serve(w, `${LOCAL}:5353`);
  w.run(udp({ src: client, dst: port, ...IN }), program);
  const out = cut(port, client, { ...FROM_LOCAL, ...LEAVING });
  cut(`${LOCAL}:5353`, client, FROM_LOCAL).forEach((packet, i) =>
    w.check({ packet, out: out[i]!, reason: "reply_sent" })
  );
});

test("k8sd_to_uplink() translates a reply that the stack has cut up", (w) => {
  w.maps.uplinks.set({ ifindex: UPLINK }, { addr: NODE, mtu: 1000 });
  serve(w, `${LOCAL}:5353`);
  w.run(udp({ src: client, dst: port, ...IN }), program);
  const big = { payload: pattern(1400), df: false };
  const reply = udp({ src: `${LOCAL}:5353`, dst: client, ...big, ...FROM_LOCAL });
  w.check({ packet: reply, reason: "pass_too_big" });
  const out = fragments(udp({ src: port, dst: client, ...big, ...FROM_LOCAL }), 976);
  fragments(reply, 976).forEach((packet, i) =>
    w.check({ program: "k8sd_to_uplink", packet, out: out[i]!, reason: "reply_routed" })
  );
});

test("masquerade() translates all fragments of a pod, and of its answer", (w) => {
  const from = `${CLIENT}:40000`, to = `${OUTSIDE}:53`;
  w.run(udp({ src: from, dst: to }), "k8sd_to_uplink");
  const { src, sport } = w.session({ src: from, dst: to, proto: PROTO.UDP, zone: 1 })!;
  const out = cut(`${src}:${sport}`, to);
  cut(from, to).forEach((packet, i) =>
    w.check({ program: "k8sd_to_uplink", packet, out: out[i]!, reason: "masqueraded" })
  );
  const answer = cut(to, from, into(CLIENT_MAC));
  cut(to, `${src}:${sport}`, IN).forEach((packet, i) =>
    w.check({ program, packet, out: answer[i]!, reason: "reply_delivered" })
  );
});

test("masquerade_packet() leaves all fragments of an answer to the world alone", (w) => {
  const from = `${OUTSIDE}:5000`, to = `${CLIENT}:53`;
  for (const packet of cut(from, to, IN)) w.run(packet, program);
  for (const packet of cut(to, from)) {
    w.check({ program: "k8sd_to_uplink", packet, reason: "pass_not_masqueraded" });
  }
});

test("fragments of no session pass in every program", (w) => {
  serve(w, `${LOCAL}:5353`);
  const [first, second] = cut(client, `${NODE}:9999`, IN);
  const direct = cut(client, `${LOCAL}:5353`, IN);
  const routed = cut(client, `${OUTSIDE}9:5353`, IN);
  for (const packet of [first!, second!, ...direct, routed[2]!, routed[0]!]) {
    w.check({ program, packet, reason: "pass_fragment" });
  }
  for (const packet of cut(`${REMOTE}:1`, `${LOCAL}:5353`, IN)) {
    w.check({ program: "k8sd_from_overlay", packet, reason: "pass_fragment" });
  }
  const [, ahead] = cut(`${CLIENT}:1`, `${REMOTE}:2`);
  w.check({
    program: "k8sd_to_uplink",
    packet: ahead!,
    reason: "pass_not_masqueraded",
  });
});

test("echo_inbound() answers a ping in fragments", (w) => {
  external(w, "203.0.113.9:80", [], { addressEntry: true });
  const ping = { type: ICMP.ECHO, rest: 0x00070001, payload: pattern(3000), df: false };
  const request = fragments(icmp({ src: OUTSIDE, dst: "203.0.113.9", ...ping, ...IN }), 1480);
  const reply = fragments(
    icmp({ src: "203.0.113.9", dst: OUTSIDE, ...ping, type: ICMP.ECHO_REPLY, ...BACK }),
    1480,
  );
  request.forEach((packet, i) => {
    // The first one's checksum is over the whole message: only its change can be compared.
    const { verdict, packet: out } = w.run(packet, program);
    if (verdict !== 7) throw new Error(`verdict ${verdict}`);
    const same = out.length === reply[i]!.length &&
      out.every((byte, at) => byte === reply[i]![at]);
    if (!same) throw new Error(`fragment ${i} differs`);
  });
});
