import assert from "node:assert/strict";
import { inParallel, within } from "./wait.ts";

const never = new Promise<never>(() => {});

Deno.test("within() hands over the value and leaves no timer behind", async () => {
  assert.equal(await within(60_000, "late", Promise.resolve(7)), 7);
});

Deno.test("within() says what was late", async () => {
  await assert.rejects(within(1, "the agent is late", never), /the agent is late/);
});

Deno.test("within() ends with the signal's reason, before and during the wait", async () => {
  const control = new AbortController();
  const waiting = within(60_000, "late", never, control.signal);
  control.abort(new Error("stop"));
  await assert.rejects(waiting, /stop/);
  await assert.rejects(within(60_000, "late", never, control.signal), /stop/);
});

Deno.test("inParallel() runs no more than the limit at a time, and everything once", async () => {
  let now = 0, most = 0;
  const seen: number[] = [];
  await inParallel([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
    most = Math.max(most, ++now);
    seen.push(item);
    await Promise.resolve();
    now--;
  });
  assert.equal(most, 3);
  assert.deepEqual(seen.sort(), [1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("inParallel() stops after a failure, but not in the midst of another item", async () => {
  const done: number[] = [];
  const work = inParallel([1, 2, 3, 4], 2, async (item) => {
    if (item === 1) throw new Error("no");
    await Promise.resolve();
    done.push(item);
  });
  await assert.rejects(work, /no/);
  assert.deepEqual(done, [2]);
});
