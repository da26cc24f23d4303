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
  for (const src of clients) {
    world.run(tcp({ src, dst: vip, flags: "S" }));
    world.run(tcp({ src: A, dst: src, flags: "SA", ...FROM_LOCAL }));
    world.run(tcp({ src, dst: vip, flags: "A" }));
  }
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

test("lbrp: nothing of the capacity tests stays in the kernel", () => {
  world?.close();
});
