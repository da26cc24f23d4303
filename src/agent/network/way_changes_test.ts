import assert from "node:assert/strict";
import { NODE_FLAG } from "../../bpf/layout.ts";
import type { Peer } from "../../routing/types.ts";
import { WayChanges } from "./way_changes.ts";

const { KNOWN_VTEPS, TUNNELLED } = NODE_FLAG;

function plan(modes: Peer["mode"][], tunnelled = true) {
  const peers = modes.map((mode, i): Peer => ({
    node: `node${i}`,
    mode,
    reason: "",
    nodeAddr: "192.0.2.1",
    podCIDRs: [],
  }));
  return { peers, tunnelled };
}

Deno.test("WayChanges: at once on a new node, and where the former agent relied on it", () => {
  for (const flags of [0, KNOWN_VTEPS | TUNNELLED]) {
    const ways = new WayChanges(flags);
    assert.ok(ways.follow(plan(["overlay"]), 5) <= 5);
    assert.ok(ways.follow(plan(["overlay", "overlay"]), 6) <= 6);
  }
});

Deno.test("WayChanges: a minute after an agent that did not, and after a change of a peer's way", () => {
  const ways = new WayChanges(KNOWN_VTEPS);
  assert.equal(ways.follow(plan(["direct", "overlay"]), 5), 60_005);
  assert.equal(ways.follow(plan(["direct", "overlay"]), 50_000), 60_005);
  assert.equal(ways.follow(plan(["overlay", "overlay"]), 70_000), 130_000);
  assert.equal(ways.follow(plan(["overlay", "overlay"]), 80_000), 130_000);
  assert.equal(ways.follow(plan(["direct", "overlay"]), 200_000), 130_000);
});

Deno.test("WayChanges: a minute after other ways were possible", () => {
  const ways = new WayChanges(0);
  ways.follow(plan(["overlay"], false), 5);
  assert.equal(ways.follow(plan(["overlay"]), 10), 60_005);
});
