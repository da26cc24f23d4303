import assert from "node:assert/strict";
import { median, medianInterval, pairedRatios, quantile, summarize } from "./stats.ts";

Deno.test("quantile() interpolates between neighbours and does not sort its argument", () => {
  const values = [4, 1, 3, 2];
  assert.equal(quantile(values, 0.5), 2.5);
  assert.equal(quantile(values, 0), 1);
  assert.equal(quantile(values, 1), 4);
  assert.equal(quantile(values, 0.25), 1.75);
  assert.deepEqual(values, [4, 1, 3, 2]);
});

Deno.test("quantile() refuses no values, and values that are none", () => {
  assert.throws(() => quantile([], 0.5), RangeError);
  assert.throws(() => quantile([1, NaN], 0.5), RangeError);
});

Deno.test("median() sorts by value, not by text", () => {
  assert.equal(median([10, 9, 100]), 10);
});

Deno.test("summarize() tells count, median, quartiles and range", () => {
  assert.deepEqual(summarize([1, 2, 3, 4, 5]), { n: 5, median: 3, q1: 2, q3: 4, min: 1, max: 5 });
});

Deno.test("pairedRatios() is not misled by a machine that gets slower meanwhile", () => {
  // Both sides slow down tenfold on the way; each pair keeps its ratio of 0.5.
  assert.deepEqual(pairedRatios([1, 5, 10], [2, 10, 20]), [0.5, 0.5, 0.5]);
  assert.throws(() => pairedRatios([1], []), RangeError);
});

Deno.test("medianInterval() takes the ranks of the sign test", () => {
  const values = Array.from({ length: 20 }, (_, i) => i + 1);
  // Tables of the binomial distribution: ranks 6 and 15 for n = 20, 2 and 9 for n = 10.
  assert.deepEqual(medianInterval(values), { low: 6, high: 15 });
  assert.deepEqual(medianInterval(values.slice(0, 10)), { low: 2, high: 9 });
  assert.deepEqual(medianInterval([3, 1, 2]), { low: 1, high: 3 });
});
