import assert from "node:assert/strict";
import {
  absoluteResult,
  formatBar,
  formatRange,
  formatSides,
  formatValue,
  isSure,
  ratioResult,
  verdict,
} from "./result.ts";

const head = { measure: "rr", id: "rr", title: "RR" };

Deno.test("ratioResult() divides run by run and keeps both sides' medians", () => {
  const result = ratioResult(
    { ...head, bar: { op: "<=", value: 1 } },
    { label: "pcnk", unit: "µs", values: [4, 8, 16] },
    { label: "plain", unit: "µs", values: [5, 10, 20] },
  );
  assert.equal(result.summary.median, 0.8);
  assert.equal(result.unit, "×");
  assert.equal(formatSides(result.sides), "pcnk 8.00 µs, plain 10.0 µs");
  assert.equal(verdict(result), "met");
});

Deno.test("verdict() holds the median to the bar, from either side, and the bar itself meets it", () => {
  const at = (op: "<=" | ">=", value: number) =>
    verdict(absoluteResult({ ...head, bar: { op, value } }, "×", [1, 1.1, 1.3]));
  assert.equal(at("<=", 1.1), "met");
  assert.equal(at("<=", 1.09), "missed");
  assert.equal(at(">=", 1.1), "met");
  assert.equal(at(">=", 1.11), "missed");
  assert.equal(verdict(absoluteResult(head, "×", [1])), "reported");
});

Deno.test("isSure() is false when the bar lies within the median's interval", () => {
  const bar = { op: "<=" as const, value: 1 };
  assert.equal(isSure({ bar, interval: { low: 0.9, high: 1.1 } }), false);
  assert.equal(isSure({ bar, interval: { low: 0.9, high: 1 } }), true);
  assert.equal(isSure({ bar, interval: { low: 1.01, high: 1.1 } }), true);
});

Deno.test("formatValue() gives three digits that mean something, and the unit", () => {
  assert.equal(formatValue(0.9312, "×"), "0.931");
  assert.equal(formatValue(0.000123, "×"), "0.00012");
  assert.equal(formatValue(0, "×"), "0.000");
  assert.equal(formatValue(5.213, "µs"), "5.21 µs");
  assert.equal(formatValue(12.34, "×"), "12.34");
  assert.equal(formatValue(31234.5, "1/s"), "31235 1/s");
  assert.equal(formatRange(0.9, 1.25, "×"), "0.900..1.25");
  assert.equal(formatRange(0.9, 1.25, "ms"), "0.900..1.25 ms");
});

Deno.test("formatBar() writes the bar as the table of bars does", () => {
  assert.equal(formatBar({ op: "<=", value: 1.25 }, "×"), "≤ 1.25");
  assert.equal(formatBar({ op: ">=", value: 1 }, "×"), "≥ 1.00");
  assert.equal(formatBar({ op: "<=", value: 90 }, "MB"), "≤ 90.0 MB");
  assert.equal(formatBar(undefined, "MB"), "–");
});
