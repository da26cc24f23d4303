/** The kit's own test of a cluster, which its makers run with the reference plugins and kube-proxy. */
import assert from "node:assert/strict";
import type { Test } from "../support/suite.ts";

export function smoke(test: Test): void {
  test("the kit's own smoke test passes, nothing left out", async ({ kit }) => {
    const said = await kit.script("smoke.sh", {});
    assert.doesNotMatch(said, /FAIL|skip/);
    assert.match(said, /ok {3}ClusterIP/);
  }, 120_000);
}
