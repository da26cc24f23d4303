/** What was brought goes again. */
import assert from "node:assert/strict";
import { install, manifest, pcnkGone } from "../support/pcnk.ts";
import { difference, snapshot } from "../support/snapshot.ts";
import type { Test } from "../support/suite.ts";
import { NODES, type World } from "../support/world.ts";

export function removal(test: Test): void {
  test(
    "deleting the manifest leaves every node as it was, and applying it again works",
    async (world) => {
      const { kit, before } = world;
      await world.depopulate();
      try {
        await kit.kubectl(["delete", "-f", "-"], { input: await manifest(kit), ms: 90_000 });
        await pcnkGone(kit, NODES);
        for (const node of NODES) {
          const now = await snapshot(kit, node);
          assert.deepEqual(difference(before.get(node)!, now), [], `node ${node}`);
        }
      } finally {
        await install(kit);
        await world.populate();
      }
      await everythingWorks(world);
    },
    240_000,
  );
}

async function everythingWorks(world: World): Promise<void> {
  for (const node of NODES) {
    await world.client(node).reachesAll(world.webIP, world.webNames);
    await world.node(node).reachesAll(world.webIP, world.webNames);
  }
}
