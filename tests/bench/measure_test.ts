import assert from "node:assert/strict";
import { interleave } from "./measure.ts";

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
