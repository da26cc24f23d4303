/** Which backend a new flow gets: at random, by weight; what happens when source ports clash; hairpin. */
import assert from "node:assert/strict";
import { SESSION_FLAG } from "../../../src/bpf/layout.ts";
import { PROTO, tcp, udp } from "../support/packet.ts";
import {
  CLIENT,
  CLIENT_MAC,
  FROM_LOCAL,
  GATEWAY,
  GATEWAY_MAC,
  INTO_CLIENT,
  INTO_LOCAL,
  LOCAL,
  REMOTE,
  test,
  VIP,
} from "../support/scene.ts";
import type { World } from "../support/world.ts";

const client = `${CLIENT}:40000`;
const vip = `${VIP}:80`;

/** Opens a flow from each of `flows` source ports; says how many went to each backend. */
function picks(w: World, flows: number): Map<string, number> {
  const found = new Map<string, number>();
  for (let port = 1024; port < 1024 + flows; port++) {
    const src = `${CLIENT}:${port}`;
    w.run(udp({ src, dst: vip }));
    const target = w.target({ src, dst: vip, proto: PROTO.UDP })!;
    found.set(target, (found.get(target) ?? 0) + 1);
  }
  return found;
}

/** `count` backends on other nodes. */
function backends(count: number, weight?: (i: number) => number): string[] {
  return Array.from(
    { length: count },
    (_, i) => `10.2.${i >> 8}.${i & 255}:${8000 + i % 50}${weight ? `*${weight(i)}` : ""}`,
  );
}

/** The bounds are six standard deviations wide: a false alarm once in 10^9 runs. */
function within(actual: number, total: number, share: number): void {
  const mean = total * share;
  const deviation = Math.sqrt(total * share * (1 - share));
  assert(
    Math.abs(actual - mean) <= 6 * deviation,
    `${actual} of ${total}, expected about ${mean} (deviation ${deviation})`,
  );
}

test("backend_pick() gives backends without weights the same share", (w) => {
  w.service(vip, backends(5), { proto: PROTO.UDP });
  const found = picks(w, 3000);
  assert.equal(found.size, 5);
  for (const count of found.values()) within(count, 3000, 1 / 5);
});

test("backend_pick() follows weights, and a weight of zero gets nothing", (w) => {
  const weights = [1, 0, 3, 6];
  const list = backends(4, (i) => weights[i]!);
  w.service(vip, list, { proto: PROTO.UDP });
  const found = picks(w, 4000);
  weights.forEach((weight, i) => {
    const count = found.get(list[i]!.split("*")[0]!) ?? 0;
    if (weight === 0) assert.equal(count, 0);
    else within(count, 4000, weight / 10);
  });
});

test("backend_pick() finds the one weighted backend wherever it stands in a long run", (w) => {
  for (const chosen of [0, 1, 511, 998, 999]) {
    const list = backends(1000, (i) => i === chosen ? 4_000_000 : 0);
    w.clear(w.test);
    w.service(vip, list, { proto: PROTO.UDP });
    assert.deepEqual([...picks(w, 3).keys()], [list[chosen]!.split("*")[0]]);
  }
});

test("backend_pick() reaches the whole of a long run", (w) => {
  w.service(vip, backends(100), { proto: PROTO.UDP });
  assert.equal(picks(w, 3000).size, 100); // missing one: 100 × 0.99^3000 = 8e-12
});

test("backend_pick() refuses when a service points behind the backends", (w) => {
  w.service(vip, [`${REMOTE}:80`], { proto: PROTO.UDP });
  const key = { addr: VIP, port: 80, proto: PROTO.UDP, scope: 0 };
  w.maps.services.set(key, { ...w.maps.services.get(key)!, first: 4_000_000 });
  const before = w.counter("event_backend_missing");
  assert.equal(w.run(udp({ src: client, dst: vip })).verdict, 7);
  assert.equal(w.counter("event_backend_missing"), before + 1n);
  assert.deepEqual(w.sessions(), []);
});

const other = "10.96.0.11:8000";

test(
  "reply_claim() changes the source port when two services share client port and backend",
  (w) => {
    w.service(vip, [`${LOCAL}:8080`]);
    w.service(other, [`${LOCAL}:8080`], { id: 2 });
    w.run(tcp({ src: client, dst: vip, flags: "S" }));
    const before = w.counter("event_port_changed");
    w.run(tcp({ src: client, dst: other, flags: "S" }));
    assert.equal(w.counter("event_port_changed"), before + 1n);
    const session = w.session({ src: client, dst: other })!;
    assert.notEqual(session.sport, 40000);
    assert(session.sport >= 1024);

    const changed = `${CLIENT}:${session.sport}`;
    w.check({
      packet: tcp({ src: client, dst: other, flags: "A" }),
      out: tcp({ src: changed, dst: `${LOCAL}:8080`, flags: "A", ...INTO_LOCAL }),
      reason: "forward_delivered",
    });
    for (const [dst, from] of [[client, vip], [changed, other]] as const) {
      w.check({
        packet: tcp({ src: `${LOCAL}:8080`, dst, flags: "SA", ...FROM_LOCAL }),
        out: tcp({ src: from, dst: client, flags: "SA", ...INTO_CLIENT }),
        reason: "reply_delivered",
      });
    }
  },
);

test("reply_claim() takes the place of a flow that is over", (w) => {
  w.service(vip, [`${LOCAL}:8080`]);
  w.service(other, [`${LOCAL}:8080`], { id: 2 });
  const first = { src: client, dst: vip }, reply = { src: `${LOCAL}:8080`, dst: client };
  const second = tcp({ src: client, dst: other, flags: "S" });
  const idle = (seconds: number) => [first, reply].forEach((tuple) => w.age(tuple, seconds));
  const ends: Record<string, () => void> = {
    expired: () => idle(61),
    "closed long ago": () => {
      w.run(tcp({ ...first, flags: "R" }));
      idle(121);
    },
    "moved to another backend": () => w.edit(first, { dst: REMOTE }),
    "evicted, and its reply idle": () => {
      w.maps.sessions.deleteBatch([w.key(first)]);
      w.age(reply, 25 * 3600);
    },
  };
  for (const [how, end] of Object.entries(ends)) {
    w.maps.sessions.deleteBatch(w.maps.sessions.keys());
    w.run(tcp({ ...first, flags: "S" }));
    end();
    w.run(second);
    assert.equal(w.session({ src: client, dst: other })?.sport, 40000, how);
    assert.equal(w.session(reply)?.src, "10.96.0.11", how);
  }
});

test(
  "reply_claim() leaves the place to a flow that may still be alive at the backend",
  (w) => {
    w.service(vip, [`${LOCAL}:8080`]);
    w.service(other, [`${LOCAL}:8080`], { id: 2 });
    const first = { src: client, dst: vip };
    const signs: Record<string, () => void> = {
      "just closed: TIME-WAIT": () => void w.run(tcp({ ...first, flags: "R" })),
      "client's side evicted": () => void w.maps.sessions.deleteBatch([w.key(first)]),
      "another CPU is just about to write the client's side anew": () => w.age(first, 61),
    };
    for (const [sign, make] of Object.entries(signs)) {
      w.maps.sessions.deleteBatch(w.maps.sessions.keys());
      w.run(tcp({ ...first, flags: "S" }));
      make();
      w.run(tcp({ src: client, dst: other, flags: "S" }));
      assert.notEqual(w.session({ src: client, dst: other })?.sport, 40000, sign);
    }
  },
);

test("reply_claim() drops, and counts, when every source port it may take is taken", (w) => {
  w.service(vip, [`${LOCAL}:8080`]);
  w.service(other, [`${LOCAL}:8080`], { id: 2 });
  w.run(tcp({ src: client, dst: vip, flags: "S" }));
  const taken = w.session({ src: `${LOCAL}:8080`, dst: client })!;
  const key = w.key({ src: `${LOCAL}:8080`, dst: client });
  w.maps.sessions.setBatch(
    Array.from({ length: 65536 - 1024 }, (_, i) => {
      const dport = 1024 + i;
      return [{ ...key, dport }, dport === 40000 ? taken : { ...taken, dport: 1 }];
    }),
  );
  // Ports below 1024 are free. The search begins anywhere, so one try would prove little.
  for (let i = 0; i < 1000; i++) {
    w.check({
      packet: tcp({ src: client, dst: other, flags: "S" }),
      reason: "drop_ports_exhausted",
      events: ["event_port_changed"],
    });
  }
  assert.equal(w.session({ src: client, dst: other }), undefined);
});

test(
  "reply_claim() knows a flow's own reply entry when the client's side was evicted",
  (w) => {
    w.service(vip, [`${LOCAL}:8080`]);
    const flow = { src: client, dst: vip };
    w.run(tcp({ ...flow, flags: "S" }));
    w.run(tcp({ ...flow, flags: "A" }));
    w.maps.sessions.deleteBatch([w.key(flow)]);
    w.check({
      packet: tcp({ ...flow, flags: "PA" }),
      out: tcp({ src: client, dst: `${LOCAL}:8080`, flags: "PA", ...INTO_LOCAL }),
      reason: "forward_delivered",
      events: ["event_session_created", "event_session_without_syn"],
    });
  },
);

const home = { ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC };

test("lbrp_from_pod() leads a pod to itself, by way of its gateway's address", (w) => {
  w.service(vip, [`${CLIENT}:8080`]);
  const packet = tcp({ src: client, dst: vip, flags: "S" });
  w.run(packet);
  const { sport, flags } = w.session({ src: client, dst: vip })!;
  assert(flags & SESSION_FLAG.HAIRPIN);
  w.check({
    packet,
    out: tcp({ src: `${GATEWAY}:${sport}`, dst: `${CLIENT}:8080`, flags: "S", ...home }),
    reason: "forward_delivered",
  });
  w.check({
    packet: tcp({ src: `${CLIENT}:8080`, dst: `${GATEWAY}:${sport}`, flags: "SA" }),
    out: tcp({ src: vip, dst: client, flags: "SA", ...home }),
    reason: "reply_delivered",
  });
});

test("lbrp_from_pod() gives a hairpin no port that the node's own connections can have", (w) => {
  for (const proto of [PROTO.TCP, PROTO.UDP]) {
    w.service(vip, [`${CLIENT}:8080`], { proto });
    for (let port = 30_000; port < 31_000; port++) {
      const flow = { src: `${CLIENT}:${port}`, dst: vip };
      w.run(proto === PROTO.TCP ? tcp({ ...flow, flags: "S" }) : udp(flow));
      const { sport } = w.session({ ...flow, proto })!;
      assert(sport >= 1024 && sport < 30_000, String(sport));
    }
  }
});

test("lbrp_from_pod() has a link-local address for a hairpin without a gateway", (w) => {
  w.endpoint(CLIENT, CLIENT_MAC, { gateway: "0.0.0.0" });
  w.service(vip, [`${CLIENT}:8080`], { proto: PROTO.UDP });
  const packet = udp({ src: client, dst: vip });
  w.run(packet);
  const { sport } = w.session({ src: client, dst: vip, proto: PROTO.UDP })!;
  w.check({
    packet,
    out: udp({ src: `169.254.42.1:${sport}`, dst: `${CLIENT}:8080`, ...home }),
    reason: "forward_delivered",
  });
});
