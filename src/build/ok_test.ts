import assert from "node:assert/strict";
import { failures, inTwos, summary } from "./ok.ts";

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

Deno.test("inTwos() counts what every run found, whichever ends first", async () => {
  const found = [1, 2, 3, 4, 5];
  let ended = 0;
  const total = await inTwos(found, async (passed) => {
    for (let i = passed % 3; i > 0; i--) await Promise.resolve();
    ended++;
    return { passed, failed: 1, skipped: 0 };
  });
  assert.deepEqual({ ended, total }, { ended: 5, total: { passed: 15, failed: 5, skipped: 0 } });
});

Deno.test("failures() tells the head of each error", () => {
  const long = Array.from({ length: 40 }, (_, i) => `    at step ${i}`).join("\n");
  const output = [
    "a test ... FAILED (3ms)",
    "",
    " ERRORS ",
    "",
    "a test => ./src/a_test.ts:3:6",
    "error: AssertionError: 1 !== 0",
    "",
    long,
    "",
    "another => ./src/b_test.ts:9:6",
    "error: Error: no answer",
    "",
    " FAILURES ",
    "",
    "a test => ./src/a_test.ts:3:6",
    "",
    "FAILED | 4 passed | 2 failed (3ms)",
  ].join("\n");
  const [first, second, ...more] = failures(output);
  assert.deepEqual(more, []);
  assert.match(first!, /^a test => .*\nerror: AssertionError: 1 !== 0\n/);
  assert.equal(first!.split("\n").length, 16);
  assert.equal(second, "another => ./src/b_test.ts:9:6\nerror: Error: no answer");
});

Deno.test("failures() tells nothing of a green run", () => {
  assert.deepEqual(failures("ok | 5 passed (2 steps) | 0 failed (3ms)\n"), []);
});
