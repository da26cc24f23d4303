import assert from "node:assert/strict";
import { turned } from "./turns.ts";

Deno.test("turned() gives each side each place equally often", () => {
  const rounds = Array.from({ length: 6 }, (_, i) => turned(["a", "b", "c"], i));
  for (const place of [0, 1, 2]) {
    const counts = Map.groupBy(rounds, (names) => names[place]!);
    assert.deepEqual([...counts.values()].map((list) => list.length), [2, 2, 2]);
  }
});

Deno.test("turned() does not always put one of two before the other", () => {
  const rounds = [0, 1, 2, 3].map((round) => turned(["a", "b"], round).join(""));
  assert.deepEqual(rounds, ["ab", "ba", "ba", "ab"]);
});
