/** The two nodes that the benchmarks compare on: the contender that is on carries the traffic, and no other. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { root as checkout } from "../../src/build/steps.ts";
import { buildLoad, measure } from "../bench/load.ts";
import { Stage } from "../bench/stage.ts";
import { type Carrier, type From, type To, twoNodes } from "../bench/two_nodes.ts";
import { file, root } from "../support/needs.ts";

const ignore = !root() || !file(join(checkout, "dist/pcnk"));

const contenders: [Carrier, From, To][] = [
  ["pcnk", "pod", "pod"],
  ["pcnk", "pod", "service"],
  ["pcnk", "node", "service"],
  ["pcnk", "outside", "nodeport-local"],
  ["pcnk", "outside", "nodeport-remote"],
  ["vxlan", "pod", "pod"],
  ["vxlan-bare", "pod", "pod"],
  ["nft", "pod", "service"],
  ["nft", "outside", "nodeport-local"],
  ["nft", "outside", "nodeport-remote"],
];

for (const attach of ["tcx", "clsact"] as const) {
  Deno.test({
    name: `twoNodes() has each flow carried by the contender that is on, ${attach}`,
    ignore,
    sanitizeResources: false, // a library that the laboratory opens at first use
    async fn(t) {
      buildLoad();
      const { signal } = new AbortController();
      await Stage.with(signal, async (stage) => {
        const carriers = contenders.map(([by]) => by);
        const nodes = await twoNodes(stage, { attach, signal }, "overlay", carriers);
        await nodes.serve("serve");
        for (const [by, from, to] of contenders) {
          await t.step(`${by}: ${from} to ${to}`, async () => {
            nodes.carry(by);
            const before = nodes.counted();
            const figures = await measure("crr", nodes.client(from), nodes.target(to), {
              ms: 20,
              signal,
            });
            assert(figures.count > 0);
            assert.equal(nodes.counted() > before, by.startsWith("pcnk"));
          });
        }
        await t.step("without a carrier of services there is none", async () => {
          nodes.carry("vxlan");
          const asked = measure("udprr", nodes.client("outside"), nodes.target("nodeport-local"), {
            ms: 20,
            signal,
          });
          await assert.rejects(asked, /Connection refused/);
        });
      });
    },
  });
}
