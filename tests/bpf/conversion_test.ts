/** Which of both tables the transitional programs read and write, by the phase of the conversion. */
import assert from "node:assert/strict";
import { CONVERSION_PHASE, type Session, SESSION_STATE } from "../../src/bpf/layout.ts";
import * as needs from "../support/needs.ts";
import { loadConverting, type Tables } from "./support/converting.ts";
import { tcp } from "./support/packet.ts";
import { CLIENT, FROM_LOCAL, LOCAL, pods, VIP } from "./support/scene.ts";
import { World } from "./support/world.ts";

const [flow, other] = [40000, 40001].map((port) => ({
  src: `${CLIENT}:${port}`,
  dst: `${VIP}:80`,
}));
const A = `${LOCAL}:8080`;
const reply = { src: A, dst: flow!.src };

/** Without what only one of both tables knows. */
function shared(session: Session | undefined) {
  return session && { ...session, created: 0n };
}

Deno.test({
  name: "the transitional programs keep the former table whole until the new one is the truth",
  ignore: !needs.root(),
  fn() {
    let tables: Tables;
    const world = new World({}, loadConverting((both) => tables = both));
    using former = tables!.former, today = tables!.today;
    try {
      pods(world);
      world.service(flow!.dst, [A]);
      const get = (map: Tables["today"], tuple: Parameters<World["key"]>[0]) =>
        map.get(world.key(tuple));
      const send = (tuple: Parameters<World["key"]>[0], flags: string) =>
        world.run(tcp({ ...tuple, flags, ...tuple === reply ? FROM_LOCAL : {} }));

      send(flow!, "S");
      assert.equal(get(former, flow!)?.dst, LOCAL);
      assert.equal(
        today.count(),
        0,
        "programs that know the former table only may be attached yet",
      );

      tables!.setPhase(CONVERSION_PHASE.MIRRORED);
      send(flow!, "A"); // of a flow that was not copied yet
      assert.equal(get(today, flow!)?.state, SESSION_STATE.ESTABLISHED);
      send(other!, "S");
      assert.ok(get(today, other!)!.created > 0n);
      send(reply, "FA");
      for (const one of [flow!, other!]) {
        assert.deepEqual(shared(get(today, one)), get(former, one));
      }
      assert.equal(get(today, flow!)?.state, SESSION_STATE.CLOSING);
      today.addBatch(former.entries());
      assert.equal(today.count(), former.count());

      tables!.setPhase(CONVERSION_PHASE.NEW);
      const before = former.entries();
      send(flow!, "FA");
      send({ ...flow!, src: `${CLIENT}:40002` }, "S");
      assert.equal(get(today, flow!)?.state, SESSION_STATE.CLOSED);
      assert.equal(today.count(), before.length + 2);
      assert.deepEqual(former.entries(), before);
    } finally {
      world.close();
    }
  },
});
