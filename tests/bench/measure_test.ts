import assert from "node:assert/strict";
import { interleave, turned } from "./measure.ts";

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

Deno.test("interleave() takes every side once a round and keeps the rounds in order", async () => {
  const order: string[] = [];
  let n = 0;
  const side = (name: string) => () => {
    order.push(name);
    return Promise.resolve(n++);
  };
  const values = await interleave(
    { runs: 2, signal: new AbortController().signal, progress() {} },
    { a: side("a"), b: side("b") },
  );
  assert.deepEqual(order, ["a", "b", "b", "a"]);
  assert.deepEqual(values, { a: [0, 3], b: [1, 2] });
});

Deno.test("interleave() stops when it is aborted", async () => {
  const control = new AbortController();
  const abort = () => {
    control.abort(new Error("enough"));
    return Promise.resolve(1);
  };
  const context = { runs: 9, signal: control.signal, progress() {} };
  await assert.rejects(interleave(context, { abort }), /enough/);
});
