import assert from "node:assert/strict";
import {
  formatNumber,
  formatTick,
  formatValue,
  formatX,
  formatXUnit,
  scaledUnit,
} from "./format.ts";

Deno.test("formatNumber() tells three digits", () => {
  const told = [0, 1234.5, 123.4, 99.96, 12.34, 1.234, 0.01234, 3e-9, -4.5, 2e12].map(formatNumber);
  assert.deepEqual(
    told,
    ["0", "1,235", "123", "100", "12.3", "1.23", "0.0123", "3.00e-9", "-4.50", "2.00e12"],
  );
});

Deno.test("formatTick() leaves zeros out behind the point only", () => {
  const told = [0, 10, 10_000, 0.5, 2.5, 1e-8, 100].map(formatTick);
  assert.deepEqual(told, ["0", "10", "10,000", "0.5", "2.5", "1e-8", "100"]);
});

Deno.test("scaledUnit() takes the prefix of the largest value, for units that have prefixes", () => {
  const told = (unit: string, value: number) => formatValue(value, scaledUnit(unit, value));
  assert.equal(told("bit/s", 12_345_678_901), "12.3 Gbit/s");
  assert.equal(told("s", 0.000_005_23), "5.23 µs");
  assert.equal(told("s", 3600), "3,600 s");
  assert.equal(told("s", 0), "0 s");
  assert.equal(told("1/s", 26_986), "26,986 1/s");
  assert.equal(told("Gbit/s", 0.012), "0.0120 Gbit/s");
});

Deno.test("formatX() tells bytes in powers of two where they are such", () => {
  assert.deepEqual([64, 1450, 8192, 65_507, 65_536, 2 ** 20].map((x) => formatX(x, "B")), [
    ...["64", "1,450", "8 KiB", "65,507", "64 KiB", "1 MiB"],
  ]);
  assert.deepEqual([formatX(0.25, "s"), formatX(1e9, ""), formatXUnit(64, "B")], [
    "0.25",
    "1e9",
    "64 B",
  ]);
});
