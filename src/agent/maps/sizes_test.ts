import assert from "node:assert/strict";
import { settings } from "../../config/schema.ts";
import { mapCapacities } from "./sizes.ts";

Deno.test("mapCapacities() gives every map what its setting says, Maglev's in whole tables", () => {
  const sizes = {
    services: 1,
    backends: 2,
    sessions: 3,
    endpoints: 4,
    sourceRanges: 5,
    maglev: 6,
    affinity: 7,
    fragments: 8,
    nodes: 9,
  };
  assert.deepEqual(mapCapacities(sizes), {
    services: 1,
    backends: 2,
    sessions: 3,
    assured: 3,
    endpoints: 4,
    pod_devices: 4,
    source_ranges: 5,
    maglev: 6 * 256,
    affinity: 7,
    affinity_proven: 7,
    remotes: 9,
    node_addrs: 9,
    vteps: 9,
    no_masquerade: 9,
  });
  const keys = settings.flatMap(({ key }) => key.startsWith("mapSizes.") ? [key.slice(9)] : []);
  assert.deepEqual(keys.sort(), Object.keys(sizes).sort());
});
