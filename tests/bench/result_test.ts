import assert from "node:assert/strict";
import { cells, isMet, isSure, parseRows, resultOf, series } from "./result.ts";

const row = (text: string) => parseRows(`rr, µs\n${text}`)[0]!;
const HALF = row("≤ 1 | pcnk ÷ plain | RR");

Deno.test("parseRows() reads groups, bars, contenders and notes, and refuses the rest", () => {
  const [one, two] = parseRows(
    "m s, µs\n  ≥ 1.15 | a b ÷ c | T: x ÷ y | why\nm, %\n  | c | the same",
  );
  const bar = { op: "≥", value: 1.15 };
  const labels = ["a b", "c"];
  assert.deepEqual(one, {
    measure: "m",
    series: "s",
    unit: "µs",
    bar,
    labels,
    title: "T: x ÷ y",
    note: "why",
  });
  assert.deepEqual([two!.series, two!.unit, two!.bar, two!.labels], ["", "%", undefined, ["c"]]);
  assert.throws(() => parseRows("| a | b"), /no row/);
  assert.throws(() => row("< 1 | a | b"), /no row/);
});

Deno.test("resultOf() divides run by run and keeps both contenders' medians", () => {
  const result = resultOf(HALF, { values: { pcnk: [4, 8, 16], plain: [5, 10, 20] } })!;
  assert.equal(result.summary.median, 0.8);
  const texts = [
    "RR",
    "0.800",
    "0.800..0.800",
    "≤ 1.00",
    "met",
    "3",
    "pcnk 8.00 µs, plain 10.0 µs",
  ];
  assert.deepEqual(cells(result), texts);
});

Deno.test("resultOf() gives a value as it is, of a series, and nothing where a contender is missing", () => {
  const memory = parseRows("m s, MB\n≤ 90 | idle | memory")[0]!;
  const found = { values: series("s", { idle: [120, 120] }), note: "so" };
  assert.deepEqual(cells(resultOf(memory, found)!), [
    "memory",
    "120 MB",
    "120..120 MB",
    "≤ 90.0 MB",
    "missed",
    "2",
    "",
  ]);
  assert.equal(resultOf(memory, found)!.note, "so");
  assert.equal(resultOf(HALF, { values: { pcnk: [1] } }), undefined);
});

Deno.test("isMet() holds the median to the bar, from either side, and the bar itself meets it", () => {
  const at = (bar: string) =>
    isMet(resultOf(row(`${bar} | a | b`), { values: { a: [1, 1.1, 1.3] } })!);
  const bars = ["≤ 1.1", "≤ 1.09", "≥ 1.1", "≥ 1.11", ""].map(at);
  assert.deepEqual(bars, [true, false, true, false, undefined]);
});

Deno.test("isSure() is false when the bar lies within the median's interval", () => {
  const { bar } = HALF;
  const sure = [[0.9, 1.1], [0.9, 1], [1.01, 1.1]].map(([low, high]) =>
    isSure({ bar, interval: { low: low!, high: high! } })
  );
  assert.deepEqual(sure, [false, true, true]);
});
