/** 5,000 nodes on the real kernel: one plan, applied by diff. */
import assert from "node:assert/strict";
import type { RoutingNode } from "../../src/routing/types.ts";
import { cpuMs } from "../../src/routing/test_support.ts";
import * as needs from "../support/needs.ts";
import { type TestNode, World } from "./routing/world.ts";

const NODES = 5000;

/** What a change may take on a loaded machine; the bar is a second from the event. */
const LIMIT_MS = 1000;

function cluster(n1: TestNode): RoutingNode[] {
  const others = Array.from({ length: NODES - 1 }, (_, i) => ({
    name: `m${i + 2}`,
    internalIPs: [`172.16.${(i + 2) >> 8}.${(i + 2) & 255}`],
    podCIDRs: [`10.${(i + 2) >> 8}.${(i + 2) & 255}.0/24`],
  }));
  return [n1.object(), ...others];
}

Deno.test({
  name: "reconcile() applies 5,000 nodes and follows one of them within a second",
  ignore: !needs.root(),
  fn() {
    using world = new World(1);
    const n1 = world.nodes[0]!;
    const nodes = cluster(n1);
    const time = (what: string, count: number) => {
      let steps: unknown[] = [];
      const taken = cpuMs(() => ({ steps } = n1.apply(nodes)));
      assert.equal(steps.length, count, what);
      return taken;
    };
    const first = n1.apply(nodes).steps.length;
    assert.ok(first > 3 * (NODES - 1), `${first} steps`);
    assert.ok(time("nothing to do", 0) < LIMIT_MS, "nothing to do");
    nodes[4000] = { ...nodes[4000]!, internalIPs: ["172.31.255.1"] };
    assert.ok(time("a node changes its address", 3) < LIMIT_MS, "a changed node");
    nodes.splice(4000, 1);
    assert.ok(time("a node leaves", 3) < LIMIT_MS, "a node that leaves");
    nodes.length = 1;
    time("all leave", 3 * (NODES - 2));
    assert.deepEqual(n1.apply(nodes).steps, []);
  },
});
