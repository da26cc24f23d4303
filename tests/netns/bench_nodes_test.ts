/** The two nodes that the benchmarks compare on: whoever is to carry the traffic does, and nobody else. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { root as checkout } from "../../src/build/steps.ts";
import { buildLoad, measure } from "../bench/load.ts";
import { Stage } from "../bench/stage.ts";
import { type Carrier, type From, type To, upTwoNodes } from "../bench/two_nodes.ts";
import { file, root } from "../support/needs.ts";

const ignore = !root() || !file(join(checkout, "dist/pcnk"));

/** Who can get where by what. */
const ways: [Carrier, From, To][] = [
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
    name: `upTwoNodes() has each way carried by the one that is on, ${attach}`,
    ignore,
    sanitizeResources: false, // a library that the laboratory opens at first use
    async fn(t) {
      buildLoad();
      const { signal } = new AbortController();
      await Stage.with(signal, async (stage) => {
        const settings = { attach, signal, runs: 1, sliceMs: 1, progress: () => {} };
        const carriers = ways.map(([by]) => by);
        const nodes = await upTwoNodes(stage, settings, "overlay", carriers);
        await nodes.serve("serve");
        for (const [by, from, to] of ways) {
          await t.step(`${by}: ${from} to ${to}`, async () => {
            nodes.carry(by);
            const before = nodes.counted();
            const figures = await measure("crr", nodes.place(from), nodes.target(to), {
              ms: 20,
              signal,
            });
            assert(figures.count > 0);
            assert.equal(nodes.counted() > before, by.startsWith("pcnk"));
          });
        }
        await t.step("without a carrier of services there is none", async () => {
          nodes.carry("vxlan");
          const asked = measure("udprr", nodes.place("outside"), nodes.target("nodeport-local"), {
            ms: 20,
            signal,
          });
          await assert.rejects(asked, /Connection refused/);
        });
      });
    },
  });
}
