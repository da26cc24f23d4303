import assert from "node:assert/strict";
import {
  MAGLEV_SIZE,
  type MaglevBackend,
  maglevElements,
  maglevTable,
  packMaglev,
} from "./maglev.ts";

function backends(count: number, weight = 1): MaglevBackend[] {
  return Array.from({ length: count }, (_, i) => ({ addr: `10.244.${i}.5`, port: 8080, weight }));
}

/** Which backend each place names. */
function names(list: readonly MaglevBackend[], size?: number): string[] {
  return Array.from(
    maglevTable(list, size),
    (index) => `${list[index]!.addr}:${list[index]!.port}`,
  );
}

function counts(values: readonly string[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const value of values) found.set(value, (found.get(value) ?? 0) + 1);
  return found;
}

Deno.test("maglevTable() gives equal backends shares that differ by one place at most", () => {
  for (const count of [1, 2, 3, 10, 100, 1021]) {
    const shares = [...counts(names(backends(count))).values()];
    assert.equal(shares.length, count);
    assert.equal(shares.reduce((sum, share) => sum + share), MAGLEV_SIZE);
    assert(Math.max(...shares) - Math.min(...shares) <= 1, `${count}: ${shares}`);
  }
});

Deno.test("maglevTable() is the same for any order of the backends", () => {
  const list = backends(20).map((one, i) => ({ ...one, weight: 1 + i % 3 }));
  const other = [...list.slice(7), ...list.slice(0, 7)].reverse();
  assert.deepEqual(names(list), names(other));
});

Deno.test("maglevTable() moves few clients of backends that stay when one goes", () => {
  const list = backends(10);
  const before = names(list), after = names(list.filter((_, i) => i !== 4));
  const gone = "10.244.4.5:8080";
  const moved = before.filter((name, i) => name !== gone && name !== after[i]).length;
  assert(moved < 0.1 * MAGLEV_SIZE, `${moved} of ${MAGLEV_SIZE} moved`);
  assert(!after.includes(gone));
});

Deno.test("maglevTable() moves few clients but to the new backend when one comes", () => {
  const before = names(backends(10)), after = names(backends(11));
  const moved = before.filter((name, i) => name !== after[i] && after[i] !== "10.244.10.5:8080");
  assert(moved.length < 0.1 * MAGLEV_SIZE, `${moved.length} of ${MAGLEV_SIZE} moved`);
});

Deno.test("maglevTable() shares positions by weight", () => {
  const weights = [1, 2, 3, 10, 100];
  const list = backends(5).map((one, i) => ({ ...one, weight: weights[i]! }));
  const shares = counts(names(list, 16381));
  const total = weights.reduce((sum, weight) => sum + weight);
  weights.forEach((weight, i) => {
    const share = shares.get(`10.244.${i}.5:8080`)!, fair = 16381 * weight / total;
    assert(Math.abs(share - fair) <= 0.02 * fair + 2, `weight ${weight}: ${share}, fair ${fair}`);
  });
});

Deno.test("maglevTable() leaves out a backend of weight 0, unless all have it", () => {
  const list = backends(3).map((one, i) => ({ ...one, weight: i }));
  assert.deepEqual([...counts(names(list)).keys()].sort(), ["10.244.1.5:8080", "10.244.2.5:8080"]);
  assert.equal(counts(names(backends(3, 0))).size, 3);
});

Deno.test("maglevTable() without backends is empty", () => {
  assert.equal(maglevTable([]).length, 0);
});

Deno.test("maglevTable() refuses sizes that are no primes or too small", () => {
  for (const size of [0, 1, 4, 1023, 65537, 7.5, NaN]) {
    assert.throws(() => maglevTable(backends(1), size), RangeError, String(size));
  }
  assert.throws(() => maglevTable(backends(8), 7), RangeError);
  assert.equal(new Set(maglevTable(backends(7), 7)).size, 7);
});

Deno.test("maglevTable() stays what it is, as nodes of two versions must agree", () => {
  // Of the function as it was first released.
  const sum = maglevTable(backends(10)).reduce(
    (hash, index, i) => (hash * 31 + index * (i + 1)) >>> 0,
    7,
  );
  assert.equal(sum, 2155340831);
});

Deno.test("packMaglev() puts four positions into an element and fills the last one up", () => {
  const packed = [...packMaglev(Uint16Array.of(1, 2, 3, 4, 5))];
  assert.deepEqual(packed, [{ backend: [1, 2, 3, 4] }, { backend: [5, 0, 0, 0] }]);
  assert.equal(maglevElements(5), packed.length);
  assert.equal(maglevElements(MAGLEV_SIZE), 256);
});
