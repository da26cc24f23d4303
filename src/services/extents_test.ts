import assert from "node:assert/strict";
import { ExtentAllocator } from "./extents.ts";
import { generator } from "./test_support.ts";

Deno.test("ExtentAllocator gives the first run that fits and lets a freed one rest", () => {
  const runs = new ExtentAllocator(10, 1000);
  assert.equal(runs.allocate(4, 0), 0);
  assert.equal(runs.allocate(4, 0), 4);
  runs.release({ first: 0, count: 4 }, 0);
  assert.equal(runs.allocate(4, 999), undefined);
  assert.equal(runs.allocate(2, 999), 8);
  assert.equal(runs.allocate(4, 1000), 0);
});

Deno.test("ExtentAllocator joins neighbours that are free", () => {
  const runs = new ExtentAllocator(9, 0);
  for (let i = 0; i < 3; i++) runs.allocate(3, 0);
  runs.release({ first: 0, count: 3 }, 0);
  runs.release({ first: 6, count: 3 }, 0);
  runs.release({ first: 3, count: 3 }, 0);
  assert.equal(runs.allocate(9, 0), 0);
});

Deno.test("ExtentAllocator.reserve() takes a run out of the middle and refuses what is taken", () => {
  const runs = new ExtentAllocator(10);
  runs.reserve({ first: 3, count: 4 });
  assert.throws(() => runs.reserve({ first: 6, count: 2 }), RangeError);
  assert.throws(() => runs.reserve({ first: 9, count: 2 }), RangeError);
  assert.deepEqual(runs.room, { free: 6, longest: 3, quarantined: 0 });
  assert.equal(runs.allocate(3, 0), 0);
  assert.equal(runs.allocate(3, 0), 7);
  assert.equal(runs.allocate(1, 0), undefined);
});

Deno.test("ExtentAllocator.adoptQuarantined() keeps what rests from being given out, unless it is in use", () => {
  const before = new ExtentAllocator(10, 1000);
  before.release({ first: before.allocate(4, 0)!, count: 4 }, 0);
  before.release({ first: before.allocate(2, 500)!, count: 2 }, 500);
  const runs = new ExtentAllocator(10, 1000);
  runs.reserve({ first: 5, count: 1 });
  runs.adoptQuarantined(before, 600);
  assert.deepEqual(runs.room, { free: 5, longest: 4, quarantined: 4 });
  assert.equal(runs.allocate(4, 600), 6);
  assert.equal(runs.allocate(4, 1000), 0);
});

Deno.test("ExtentAllocator agrees with a plain table of elements over ten thousand random steps", () => {
  const { below, pick } = generator(3);
  const capacity = 200, quarantineMs = 7;
  const runs = new ExtentAllocator(capacity, quarantineMs);
  /** The time from which an element is free; Infinity: in use. */
  const free = new Array<number>(capacity).fill(0);
  const held: { first: number; count: number }[] = [];
  for (let now = 0; now < 10_000; now++) {
    if (held.length > 0 && below(2) === 0) {
      const run = pick(held);
      held.splice(held.indexOf(run), 1);
      runs.release(run, now);
      free.fill(now + quarantineMs, run.first, run.first + run.count);
      if (below(20) > 0) continue;
      for (const other of held.splice(0)) { // all at once now and then
        runs.release(other, now);
        free.fill(now + quarantineMs, other.first, other.first + other.count);
      }
      now += below(2) * quarantineMs;
      continue;
    }
    const count = 1 + below(12);
    const fits = (first: number) =>
      first + count <= capacity && free.slice(first, first + count).every((at) => at <= now);
    const expected = Array.from({ length: capacity }, (_, i) => i).find(fits);
    assert.equal(runs.allocate(count, now), expected, `at ${now}`);
    if (expected === undefined) continue;
    free.fill(Infinity, expected, expected + count);
    held.push({ first: expected, count });
  }
});
