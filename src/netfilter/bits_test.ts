import assert from "node:assert/strict";
import { agreed, equals, every, exact, isLess, masked, some, swapped, unknown } from "./bits.ts";

/** 10.244.1.0 and 10.244.1.255 */
const subnet = agreed([Uint8Array.of(10, 244, 1, 0), Uint8Array.of(10, 244, 1, 255)], 4);

Deno.test("agreed() knows the bits that all values share", () => {
  assert.deepEqual([...subnet.known], [255, 255, 255, 0]);
  assert.deepEqual([...agreed([], 2).known], [0, 0]);
});

Deno.test("equals() holds, does not hold, or depends", () => {
  assert.equal(equals(exact(Uint8Array.of(1, 2)), Uint8Array.of(1, 2)), true);
  assert.equal(equals(subnet, Uint8Array.of(10, 244, 1, 7)), undefined);
  assert.equal(equals(subnet, Uint8Array.of(10, 244, 2, 7)), false);
});

Deno.test("masked() knows what the mask clears", () => {
  const network = (mask: number[]) => masked(subnet, Uint8Array.from(mask), new Uint8Array(4));
  assert.equal(equals(network([255, 255, 255, 0]), Uint8Array.of(10, 244, 1, 0)), true);
  assert.equal(equals(network([255, 255, 255, 128]), Uint8Array.of(10, 244, 1, 0)), undefined);
  assert.equal(
    equals(masked(unknown(1), Uint8Array.of(0), Uint8Array.of(3)), Uint8Array.of(3)),
    true,
  );
});

Deno.test("isLess() compares in network byte order", () => {
  assert.equal(isLess(subnet, Uint8Array.of(10, 244, 2, 0)), true);
  assert.equal(isLess(subnet, Uint8Array.of(10, 244, 1, 9)), undefined);
  assert.equal(isLess(subnet, Uint8Array.of(10, 244, 1, 0)), false);
});

Deno.test("swapped() reverses units", () => {
  assert.deepEqual([...swapped(exact(Uint8Array.of(1, 2, 3, 4)), 2).value], [2, 1, 4, 3]);
});

Deno.test("every() and some() with conditions that depend", () => {
  assert.equal(every([true, undefined]), undefined);
  assert.equal(every([undefined, false]), false);
  assert.equal(some([false, undefined]), undefined);
  assert.equal(some([undefined, true]), true);
});
