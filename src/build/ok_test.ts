import assert from "node:assert/strict";
import { summary } from "./ok.ts";

Deno.test("summary() reads the counts of a green run", () => {
  const output = "running 3 tests\nok | 5 passed (2 steps) | 0 failed | 1 ignored (3ms)\n";
  assert.deepEqual(summary(output, true), { passed: 5, failed: 0, skipped: 1 });
});

Deno.test("summary() reads the counts of a red run", () => {
  const output = "FAILED | 4 passed | 2 failed (3ms)\nerror: Test failed\n";
  assert.deepEqual(summary(output, false), { passed: 4, failed: 2, skipped: 0 });
});

Deno.test("summary() counts a run that died without a summary as one failure", () => {
  assert.deepEqual(summary("Segmentation fault", false), { passed: 0, failed: 1, skipped: 0 });
});
