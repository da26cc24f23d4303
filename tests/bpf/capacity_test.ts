/** Tables at their limits: lbrp goes on serving. */
import assert from "node:assert/strict";
import * as needs from "../support/needs.ts";
import { PROTO, tcp, udp } from "./support/packet.ts";
import { CLIENT, FROM_LOCAL, LOCAL, pods, REMOTE, VIP } from "./support/scene.ts";
import { World } from "./support/world.ts";

const available = needs.root();
const CAPACITY = 256;
const world = available
  ? new World({ sessions: CAPACITY, assured: CAPACITY, fragments: CAPACITY })
  : undefined;
const vip = `${VIP}:80`;
const A = `${LOCAL}:8080`;
const OTHER = "10.1.0.9";

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name, ignore: !available, fn });
}

test("session_create() pushes out the longest unused sessions when the table is full", () => {
  assert(world);
  world.clear("capacity");
  pods(world);
  world.service(vip, [`${REMOTE}:8080`]);
  const busy = { src: `${CLIENT}:1000`, dst: vip };
  world.run(tcp({ ...busy, flags: "S" }));
  for (let port = 2000; port < 2000 + 20 * CAPACITY; port++) {
    const src = `${CLIENT}:${port}`;
    world.check({
      packet: tcp({ src, dst: vip, flags: "S" }),
      out: tcp({ src, dst: `${REMOTE}:8080`, flags: "S" }),
      reason: "forward_routed",
    });
  }
  assert(world.sessions().length <= CAPACITY);
  assert.equal(world.counter("drop_sessions_full"), 0n);
  // Long pushed out; with one backend the connection finds it again.
  world.check({
    packet: tcp({ ...busy, flags: "A" }),
    out: tcp({ src: busy.src, dst: `${REMOTE}:8080`, flags: "A" }),
    reason: "forward_routed",
  });
});

test("session_track() keeps a session in use while others come and go", () => {
  assert(world);
  world.clear("capacity");
  pods(world);
  world.service(vip, [`${REMOTE}:8080`], { proto: PROTO.UDP });
  const busy = { src: `${CLIENT}:1000`, dst: vip, proto: PROTO.UDP };
  world.run(udp(busy));
  world.service(vip, ["10.2.0.6:8080"], { proto: PROTO.UDP });
  for (let port = 2000; port < 2000 + 10 * CAPACITY; port++) {
    world.run(udp({ src: `${CLIENT}:${port}`, dst: vip }));
    world.run(udp(busy));
  }
  assert.equal(world.target(busy), `${REMOTE}:8080`);
});

test("assured connections live on while a hundred times the table's flows come and go", () => {
  assert(world);
  world.clear("capacity");
  pods(world);
  world.service(vip, [A]);
  world.service(vip, [A], { proto: PROTO.UDP });
  const clients = Array.from({ length: CAPACITY / 2 }, (_, i) => `${OTHER}:${1000 + i}`);
  for (const src of clients) connect(world, src);
  for (let i = 0; i < 50 * CAPACITY; i++) {
    world.run(udp({ src: `${CLIENT}:${1 + i % 60000}`, dst: vip }));
  }
  world.service(vip, [`${REMOTE}:8080`]); // another backend would be a lost connection
  for (const src of clients) {
    world.run(tcp({ src, dst: vip, flags: "PA" }));
    assert.equal(world.target({ src, dst: vip }), A, src);
  }
  const before = world.counter("event_session_unassured");
  const src = `${OTHER}:9999`;
  world.run(tcp({ src, dst: vip, flags: "S" }));
  world.run(tcp({ src: `${REMOTE}:8080`, dst: src, flags: "SA" }), "lbrp_to_pod");
  world.run(tcp({ src, dst: vip, flags: "A" }));
  assert.equal(world.counter("event_session_unassured"), before + 1n, "there is no room");
  assert.equal(world.target({ src, dst: vip }), `${REMOTE}:8080`, "as before");
});

/** An empty world of a table of 128 flows, of which a client may have half. */
function shared(): World {
  assert(world);
  world.clear("capacity");
  pods(world);
  for (const proto of [PROTO.TCP, PROTO.UDP]) world.service(vip, [A], { proto });
  world.limit({ flows: CAPACITY / 4, capacity: CAPACITY / 2 });
  return world;
}

function connect(w: World, src: string): void {
  w.run(tcp({ src, dst: vip, flags: "S" }));
  w.run(tcp({ src: A, dst: src, flags: "SA", ...FROM_LOCAL }));
  w.run(tcp({ src, dst: vip, flags: "A" }));
}

function isAssured(w: World, src: string): boolean {
  return w.maps.assured.get(w.key({ src, dst: vip })) !== undefined;
}

test("assured_limit() leaves room for connections of others, though many clients take all they can", () => {
  const w = shared();
  const flows = () => w.maps.assured.keys().length / 2;
  const taken = Array.from({ length: 16 }, (_, client) => {
    for (let port = 1; port <= 100; port++) connect(w, `10.1.1.${client}:${port}`);
    return flows();
  });
  assert.equal(taken[0], CAPACITY / 4, "a client alone has its share");
  assert.ok(taken[7]! < 0.95 * CAPACITY / 2, `eight have ${taken}`);
  for (const src of [`${OTHER}:1`, `${OTHER}:2`, "10.1.0.8:1"]) connect(w, src);
  assert.deepEqual([`${OTHER}:1`, "10.1.0.8:1"].map((src) => isAssured(w, src)), [true, true]);
  assert.equal(w.maps.session_limits.get(0)!.assured, flows());
  for (let port = 1; port <= 64; port++) {
    w.run(tcp({ src: `10.1.1.0:${port}`, dst: vip, flags: "R" }));
  }
  assert.equal(w.maps.session_limits.get(0)!.assured, flows(), "what is over is room again");
  for (let port = 10; port < 30; port++) connect(w, `${OTHER}:${port}`);
  assert.ok(isAssured(w, `${OTHER}:29`));
});

test("assured_limit() keeps half of the table from UDP, so that connections find room", () => {
  const w = shared();
  for (let client = 1; client <= 200; client++) {
    const src = `10.1.1.${client}:1`, flow = { src, dst: vip };
    w.run(udp(flow));
    w.run(udp({ src: A, dst: src, ...FROM_LOCAL }));
    w.age({ ...flow, proto: PROTO.UDP }, 2);
    w.run(udp(flow));
  }
  assert.equal(w.maps.assured.keys().length, CAPACITY / 2, "entries of half of the flows");
  const connections = Array.from({ length: 20 }, (_, i) => `${OTHER}:${1000 + i}`);
  for (const src of connections) connect(w, src);
  for (let i = 0; i < 20 * CAPACITY; i++) w.run(udp({ src: `${CLIENT}:${1 + i}`, dst: vip }));
  w.service(vip, [`${REMOTE}:8080`]); // another backend would be a lost connection
  for (const src of connections) {
    w.run(tcp({ src, dst: vip, flags: "PA" }));
    assert.equal(w.target({ src, dst: vip }), A, src);
  }
});

/** A flow of each flood, from an address of its own. */
const floods: Record<string, (w: World, src: string) => void> = {
  "half-open connections": (w, src) => void w.run(tcp({ src, dst: vip, flags: "S" })),
  "half-open connections and resets": (w, src) => {
    for (const flags of ["S", "R"]) w.run(tcp({ src, dst: vip, flags }));
  },
  "FINs of no connection": (w, src) => void w.run(tcp({ src, dst: vip, flags: "FA" })),
  "ACKs that the backend resets": (w, src) => {
    w.run(tcp({ src, dst: vip, flags: "A" }));
    w.run(tcp({ src: A, dst: src, flags: "R", ...FROM_LOCAL }));
  },
  "connections that end": (w, src) => {
    connect(w, src);
    w.run(tcp({ src, dst: vip, flags: "FA" }));
    w.run(tcp({ src: A, dst: src, flags: "FA", ...FROM_LOCAL }));
  },
  "datagrams and their replies": (w, src) => {
    w.run(udp({ src, dst: vip }));
    w.run(udp({ src: A, dst: src, ...FROM_LOCAL }));
  },
  "connections that stay": connect,
};
for (const [name, flood] of Object.entries(floods)) {
  test(`no assured connection goes for ${name} of 2,000 addresses`, () => {
    const w = shared();
    const connections = Array.from({ length: 20 }, (_, i) => `${OTHER}:${1000 + i}`);
    for (const src of connections) connect(w, src);
    for (let i = 0; i < 2000; i++) flood(w, `11.0.${i >> 8}.${i & 255}:4000`);
    w.service(vip, [`${REMOTE}:8080`]); // another backend would be a lost connection
    for (const src of connections) {
      w.run(tcp({ src, dst: vip, flags: "PA" }));
      assert.equal(w.target({ src, dst: vip }), A, src);
    }
  });
}

test("source_get() does not recycle a flow of a client whose count was evicted", () => {
  const w = shared();
  w.limit({});
  for (const port of [1, 2, 3]) {
    w.run(udp({ src: `${CLIENT}:${port}`, dst: vip }));
    w.maps.sources.deleteBatch(w.maps.sources.keys()); // as 16,384 other clients do
  }
  assert.equal(w.forwardSessions().length, 3);
});

test("lbrp: nothing of the capacity tests stays in the kernel", () => {
  world?.close();
});
