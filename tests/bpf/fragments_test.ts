/**
 * Fragments in any order through the steady programs, as far as a packet at a time shows it; tests/netns/services_path_test.ts
 * sends them in all orders.
 */
import assert from "node:assert/strict";
import { SHARE_KIND } from "../../src/bpf/layout.ts";
import { checksum } from "../../src/linux/ping.ts";
import * as needs from "../support/needs.ts";
import { external, IN, into, NODE, node, OUTSIDE } from "./support/node.ts";
import {
  be,
  type Bytes,
  concat,
  fragments,
  ICMP,
  icmp,
  pattern,
  PROTO,
  udp,
} from "./support/packet.ts";
import { CLIENT, CLIENT_MAC, GATEWAY_MAC, INTO_LOCAL, LOCAL, pods, VIP } from "./support/scene.ts";
import { World } from "./support/world.ts";

/** FRAGMENT_MARK of bpf/lib/fragments.h: the packet was held. */
const AGAIN = 0x70636e6b;

const world = needs.root() ? new World() : undefined;
const client = `${CLIENT}:40000`;
const vip = `${VIP}:53`;

function test(name: string, run: (w: World) => void): void {
  Deno.test({
    name,
    ignore: world === undefined,
    fn() {
      world!.clear(name);
      pods(world!);
      node(world!);
      world!.service(vip, [`${LOCAL}:5353`], { proto: PROTO.UDP });
      run(world!);
    },
  });
}

/** A datagram in fragments of 1480 bytes. */
const cut = (src: string, dst: string, id = 1, size = 4000, more = {}) =>
  fragments(udp({ src, dst, payload: pattern(size), df: false, id, ...more }), 1480);

/** Packets and events counted while a fragment goes through a program. */
function counted(w: World, packet: Bytes, ...how: [Parameters<World["run"]>[1]?, number?]) {
  const names = ["event_fragment_held", "event_fragment_not_held", "pass_fragment"] as const;
  const more = [
    "drop_fragment_tiny",
    "drop_fragment_overlap",
    "drop_fragment_share",
    "forward_delivered",
    "direct_delivered",
    "pass_protocol",
    "reply_delivered",
  ] as const;
  const all = [...names, ...more];
  const before = all.map((name) => w.counter(name));
  w.run(packet, ...how);
  return all.filter((name, i) => w.counter(name) > before[i]!).join(" ");
}

test("fragment_hold() holds what comes ahead of the first, which fragment_release() lets go", (w) => {
  const [first, second, third] = cut(client, vip) as [Bytes, Bytes, Bytes];
  assert.equal(counted(w, third), "event_fragment_held");
  assert.equal(counted(w, second), "event_fragment_held");
  const held = w.maps.held_fragments.entries().sort(([a], [b]) => a.slot - b.slot).map((
    [, { len, bytes }],
  ) => bytes.slice(0, len));
  assert.deepEqual(held, [third, second], "whole, as they came");
  const out = cut(client, `${LOCAL}:5353`, 1, 4000, INTO_LOCAL);
  w.check({ packet: first, out: out[0]!, reason: "forward_delivered" });
  assert.deepEqual(w.maps.held_fragments.entries(), []);
  // They are received once more, and so come to this program again.
  w.check({ packet: third, out: out[2]!, reason: "forward_delivered", mark: AGAIN });
  w.check({ packet: second, out: out[1]!, reason: "forward_delivered", mark: AGAIN });
});

test("fragment_find() takes an identification anew once its datagram is whole", (w) => {
  for (const packet of cut(client, vip, 1, 4000)) w.run(packet);
  const [first, second] = cut(`${CLIENT}:40001`, vip, 1, 2000) as [Bytes, Bytes];
  assert.equal(counted(w, second), "event_fragment_held", "not with the ports of the former one");
  assert.equal(counted(w, first), "forward_delivered");
  const out = cut(`${CLIENT}:40001`, `${LOCAL}:5353`, 1, 2000, INTO_LOCAL)[1]!;
  w.check({ packet: second, out, reason: "forward_delivered", mark: AGAIN });
});

test("fragment_find() keeps a datagram whose fragments were held, and may still be on their way", (w) => {
  const [first, second, third] = cut(client, vip) as [Bytes, Bytes, Bytes];
  for (const packet of [second, third, first]) w.run(packet);
  for (let id = 100; id < 300; id++) for (const one of cut(client, vip, id, 2000)) w.run(one);
  for (const packet of [second, third]) {
    const out = cut(client, `${LOCAL}:5353`, 1, 4000, INTO_LOCAL)[packet === second ? 1 : 2]!;
    w.check({ packet, out, reason: "forward_delivered", mark: AGAIN });
  }
});

test("fragment_hold() holds a long frame in parts", (w) => {
  const [first, second] = fragments(
    udp({ src: client, dst: vip, payload: pattern(5000), df: false }),
    2560,
  ) as [Bytes, Bytes];
  assert.equal(counted(w, second), "event_fragment_held");
  const parts = w.maps.held_fragments.entries().sort(([a], [b]) => a.part - b.part);
  assert.equal(parts.length, Math.ceil(second.length / 2048));
  const whole = parts.flatMap(([, { bytes }]) => [...bytes]).slice(0, second.length);
  assert.deepEqual(new Uint8Array(whole), second);
  w.run(first);
  assert.equal(w.maps.held_fragments.keys().filter(({ part }) => part === 0).length, 0);
});

test("fragment_find() tells datagrams apart by identification and addresses", (w) => {
  w.run(cut(client, vip)[0]!);
  for (const [src, id] of [[client, 2], ["10.1.0.9:40000", 1]] as const) {
    assert.equal(counted(w, cut(src, vip, id)[1]!), "event_fragment_held");
  }
  assert.equal(counted(w, cut(client, vip)[1]!), "forward_delivered");
});

test("fragment_hold() gives each pod, and each address outside, a share of its own", (w) => {
  external(w, "0.0.0.0:30053", [`${LOCAL}:5353`], { proto: PROTO.UDP });
  const program = "k8sd_from_uplink";
  const later = (id: number, src = client) => cut(src, vip, id)[1]!;
  const fromOutside = (src: string, id = 1) => cut(src, `${NODE}:30053`, id, 4000, IN)[1]!;
  // One pod, by whatever addresses it says (an exempt one), and by its own.
  for (let id = 1; id <= 100; id++) w.run(later(id, `10.1.7.${id % 250}:1`));
  assert.equal(w.maps.held_fragments.keys().length, 48);
  const none = "event_fragment_not_held pass_fragment";
  assert.equal(counted(w, later(9999, "10.1.8.1:1")), none);
  for (let id = 1; id <= 48; id++) assert.equal(counted(w, later(id)), "event_fragment_held");
  assert.equal(counted(w, later(9999)), none);
  assert.equal(counted(w, later(1, `${LOCAL}:40000`)), "event_fragment_held", "its neighbour's");
  const { times } = w.maps.shares.get({ addr: CLIENT, ifindex: 0 })!;
  assert.ok(times[SHARE_KIND.FRAGMENTS]! >= 1n);
  w.maps.held_fragments.deleteBatch(w.maps.held_fragments.keys());
  for (let id = 1; id <= 48; id++) w.run(later(id));
  assert.equal(counted(w, fromOutside(`${OUTSIDE}:1`), program), "event_fragment_held");
  for (let id = 1; id <= 2000; id++) w.run(fromOutside(`${OUTSIDE}:1`, id), program);
  assert.equal(w.maps.held_fragments.keys().length, 96);
  assert.equal(counted(w, fromOutside("198.51.100.9:1"), program), "event_fragment_held");
});

test("first fragments of one source, however many, push out no other's", (w) => {
  const [first, second] = cut(`${OUTSIDE}:1`, `${NODE}:30053`, 7, 4000, IN);
  external(w, "0.0.0.0:30053", [`${LOCAL}:5353`], { proto: PROTO.UDP });
  w.run(first!, "k8sd_from_uplink");
  for (let id = 1; id <= 20_000; id++) w.run(cut(client, vip, id, 1500)[0]!);
  assert.equal(counted(w, second!, "k8sd_from_uplink"), "forward_delivered");
});

test("fragment_check() drops a datagram whose fragments overlap, and passes duplicates", (w) => {
  const [first, second, third] = cut(client, vip) as [Bytes, Bytes, Bytes];
  w.run(first);
  assert.equal(counted(w, second), "forward_delivered");
  assert.equal(counted(w, second), "forward_delivered", "a duplicate");
  assert.equal(counted(w, first), "forward_delivered", "a duplicate");
  const bad = second.slice(); // eight bytes further back: into the first one
  new DataView(bad.buffer).setUint16(20, new DataView(bad.buffer).getUint16(20) - 1);
  assert.equal(counted(w, bad), "drop_fragment_overlap");
  assert.equal(counted(w, third), "drop_fragment_overlap", "all of the datagram");
  assert.equal(counted(w, cut(client, vip, 2)[0]!), "forward_delivered", "no other one");
  // Ahead of the first, too: nothing of such a datagram is let go.
  assert.equal(counted(w, cut(client, vip, 3)[1]!), "event_fragment_held");
  const other = cut(client, vip, 3)[2]!;
  new DataView(other.buffer).setUint16(20, 186); // 8 units into the second
  assert.equal(counted(w, other), "drop_fragment_overlap");
  assert.equal(counted(w, cut(client, vip, 3)[0]!), "drop_fragment_overlap");
});

test("a ping's later fragments are held for its first, which knows the identifier", (w) => {
  const message = { rest: 0x00070001, payload: pattern(3000), df: false };
  const request = fragments(icmp({ src: CLIENT, dst: VIP, type: ICMP.ECHO, ...message }), 1480);
  const back = { ...message, ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC };
  const reply = fragments(icmp({ src: VIP, dst: CLIENT, type: ICMP.ECHO_REPLY, ...back }), 1480);
  for (const i of [2, 1]) assert.equal(counted(w, request[i]!), "event_fragment_held");
  const reason = "echo_replied";
  w.check({ packet: request[0]!, out: reply[0]!, reason });
  assert.deepEqual(w.maps.held_fragments.entries(), []);
  for (const i of [2, 1]) w.check({ packet: request[i]!, out: reply[i]!, reason, mark: AGAIN });
});

test("a masqueraded ping's reply is translated in any order of its fragments", (w) => {
  w.run(icmp({ src: CLIENT, dst: OUTSIDE, type: ICMP.ECHO, rest: 77 << 16 }), "k8sd_to_uplink");
  const flow = { src: `${CLIENT}:77`, dst: `${OUTSIDE}:0` } as const;
  const { sport } = w.session({ ...flow, proto: PROTO.ICMP, zone: 1 })!;
  const pong = { src: OUTSIDE, type: ICMP.ECHO_REPLY, payload: pattern(3000), df: false };
  const reply = fragments(icmp({ ...pong, dst: NODE, rest: sport << 16, ...IN }), 1480);
  const inner = { ...pong, dst: CLIENT, rest: 77 << 16, ...into(CLIENT_MAC) };
  const out = fragments(icmp(inner), 1480);
  const program = "k8sd_from_uplink", reason = "reply_delivered";
  for (const i of [2, 1]) assert.equal(counted(w, reply[i]!, program), "event_fragment_held");
  w.check({ program, packet: reply[0]!, out: out[0]!, reason });
  for (const i of [2, 1]) {
    w.check({ program, packet: reply[i]!, out: out[i]!, reason, mark: AGAIN });
  }
});

/** Fragments of the load of a pod, by its last byte, of both periods. */
function load(w: World, pod = 2): number {
  const { units, former } = w.maps.fragment_loads.get(pod)!;
  return units + former;
}

/** A datagram of CLIENT to LOCAL whose header is changed, with its checksum. */
function altered(packet: Bytes, change: (ip: DataView) => void): Bytes {
  const out = packet.slice();
  const ip = new DataView(out.buffer, 14);
  change(ip);
  ip.setUint16(10, 0);
  ip.setUint16(10, checksum(out.slice(14, 34)));
  return out;
}

/** Datagrams that a pod begins before it is refused. */
function begin(w: World, src: string, packet = (id: number) => cut(src, `${LOCAL}:1`, id)[0]!) {
  let begun = 0;
  while (begun < 2000 && !counted(w, packet(begun + 1)).includes("drop_fragment_share")) begun++;
  return begun;
}

test("fragment_room() bounds the datagrams of a pod that are not whole, and those of all", (w) => {
  assert.equal(begin(w, client), 400, "a third of 1,200");
  const { times } = w.maps.shares.get({ addr: CLIENT, ifindex: 0 })!;
  assert.ok(times[SHARE_KIND.FRAGMENTS]! >= 1n);
  assert.equal(counted(w, cut(client, `${LOCAL}:1`, 400)[1]!), "direct_delivered", "go on");
  assert.equal(counted(w, udp({ src: client, dst: `${LOCAL}:1` })), "direct_delivered");
  let total = 401;
  for (let pod = 10; pod < 50; pod++) {
    const src = `10.1.0.${pod}`;
    w.maps.endpoints.set({ addr: src }, w.maps.endpoints.get({ addr: CLIENT })!);
    const begun = begin(w, `${src}:1`);
    assert.equal(begun, Math.max(4, Math.ceil((1200 - total) / 3)), src);
    total += begun;
  }
  assert.ok(total < 1200 + 40 * 4, String(total));
  const later = (periods: bigint) => {
    const loads = w.maps.fragment_loads;
    const now = loads.get(loads.maxEntries - 1)!.period;
    for (const [source, { units, former, sent }] of loads.entries()) {
      const then = { period: now - periods, units: units + former, former: 0, sent };
      if (then.units) loads.set(source, then);
    }
  };
  // What is older than its receiver waits is no load, in the second period after at the latest.
  later(1n);
  assert.equal(begin(w, client), 0);
  later(2n);
  assert.equal(begin(w, client), 400);
});

test("fragment_room() bounds one datagram of many fragments, and those of any protocol", (w) => {
  const tiny = fragments(udp({ src: client, dst: `${LOCAL}:1`, payload: pattern(8000) }), 8);
  const passed = tiny.slice(0, -1).filter((one) => counted(w, one) === "direct_delivered");
  assert.equal(passed.length, 600);
  const gre = (id: number) =>
    altered(cut(client, `${LOCAL}:1`, id)[0]!, (ip) => ip.setUint8(9, 47));
  w.clear("any protocol");
  pods(w);
  assert.equal(begin(w, client, gre), 400);
});

test("fragment_room() refuses no pod whose datagrams become whole", (w) => {
  const none = w.counter("drop_fragment_share");
  const flow = (port: number, id: number) => cut(`${CLIENT}:${port}`, `${LOCAL}:1`, id, 65_000);
  const send = (packets: Bytes[]) => packets.forEach((packet) => w.run(packet));
  for (let round = 0; round < 12; round++) {
    // Eight at a time, which differ in nothing but their identifications.
    const eight = Array.from({ length: 8 }, (_, i) => flow(1, round % 3 * 8 + i));
    eight[0]!.forEach((_, i) => send(eight.map((packets) => packets[i]!)));
    assert.equal(load(w), 0);
  }
  send(flow(2, 900).reverse());
  assert.equal(load(w), 0);
  send(flow(2, 901).flatMap((packet) => [packet, packet]).slice(0, -1));
  assert.equal(load(w), 0, "duplicates");
  // A tenth never comes: of 100 datagrams of three.
  for (let id = 1; id <= 100; id++) send(cut(client, `${LOCAL}:1`, id).slice(0, id % 10 ? 3 : 2));
  assert.equal(load(w), 20);
  assert.equal(w.counter("drop_fragment_share"), none);
});

test("fragment_is_certain() takes for whole only what comes together at the receiver", (w) => {
  const late = (ip: DataView) => ip.setUint8(8, 1);
  const cases: [string, (three: [Bytes, Bytes, Bytes]) => Bytes[]][] = [
    ["another TTL", ([a, b, c]) => [a, altered(b, late), c]],
    ["another type of service", ([a, b, c]) => [a, b, altered(c, (ip) => ip.setUint8(1, 4))]],
    ["not to be fragmented", ([a, b, c]) => [
      a,
      altered(b, (ip) => ip.setUint16(6, ip.getUint16(6) | 0x4000)),
      c,
    ]],
    ["a wrong checksum", ([a, b, c]) => {
      const bad = b.slice();
      bad[24]! ^= 1;
      return [a, bad, c];
    }],
    ["an end behind the last one", ([a, b, c]) => [
      a,
      altered(c, (ip) => ip.setUint16(6, 185 + 1)),
      altered(b, (ip) => ip.setUint16(6, 0x2000 | 400)),
      b,
    ]],
    ["two last ones", ([a, b, c]) => [
      a,
      c,
      altered(c, (ip) => ip.setUint16(2, ip.getUint16(2) - 1)),
      b,
    ]],
    ["no multiple of eight", ([a, b, c]) => [
      a,
      altered(b, (ip) => ip.setUint16(2, ip.getUint16(2) - 1)),
      altered(c, (ip) => ip.setUint16(2, ip.getUint16(2))),
    ]],
    ["too far apart", ([a, b, c]) => [
      a,
      ...Array.from({ length: 30 }, (_, i) => cut(client, `${LOCAL}:1`, 100 + i)).flat(),
      b,
      c,
    ]],
    ["with options", (three) =>
      three.map((packet) => {
        const more = concat(packet.slice(0, 34), be([4, 0x01010101]), packet.slice(34));
        more[14] = 0x46;
        return altered(more, (ip) => ip.setUint16(2, ip.getUint16(2) + 4));
      })],
  ];
  for (const [name, make] of cases) {
    w.clear(name);
    pods(w);
    const [a, b, c] = cut(client, `${LOCAL}:1`) as [Bytes, Bytes, Bytes];
    for (const packet of make([a, b, c])) w.run(packet);
    assert.ok(load(w) >= 2, `${name}: ${load(w)}`);
  }
});

Deno.test("nothing of the tests of fragments stays in the kernel", () => world?.close());
