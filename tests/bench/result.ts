/** One row of the benchmarks: a figure, the bar it is held to, and what it was made from (pure). */
import { medianInterval, pairedRatios, summarize, type Summary } from "./stats.ts";

/** What a figure must reach: at most (`<=`) or at least (`>=`) so much. */
export interface Bar {
  op: "<=" | ">=";
  value: number;
}

/** One side of a ratio or a difference, in its own unit. */
export interface Side {
  label: string;
  unit: Unit;
  summary: Summary;
}

export type Unit = "×" | "%" | "µs" | "ms" | "s" | "MB" | "1/s" | "GB/s";

/** A measured figure. */
export interface Result {
  /** Name of the measure that made it, as `--only` takes it. */
  measure: string;
  /** Unique among all results. */
  id: string;
  title: string;
  unit: Unit;
  /** Of the single runs' figures. */
  summary: Summary;
  /** Of the median: 95 % confidence. */
  interval: { low: number; high: number };
  /** Absent: reported only. */
  bar?: Bar;
  sides: Side[];
  note?: string;
}

/** `reported`: there is no bar. */
export type Verdict = "met" | "missed" | "reported";

type Head = Pick<Result, "measure" | "id" | "title" | "bar" | "note">;

/** Values of one side, in the order of the runs. */
export interface Series {
  label: string;
  unit: Unit;
  values: readonly number[];
}

/** The figure itself, run by run. */
export function absoluteResult(head: Head, unit: Unit, values: readonly number[]): Result {
  return { ...head, unit, summary: summarize(values), interval: medianInterval(values), sides: [] };
}

/** The ratio a ÷ b, run by run. */
export function ratioResult(head: Head, a: Series, b: Series): Result {
  const ratios = pairedRatios(a.values, b.values);
  return { ...absoluteResult(head, "×", ratios), sides: [side(a), side(b)] };
}

function side({ label, unit, values }: Series): Side {
  return { label, unit, summary: summarize(values) };
}

/** Whether the median reaches the bar. */
export function verdict({ bar, summary }: Pick<Result, "bar" | "summary">): Verdict {
  if (!bar) return "reported";
  const met = bar.op === "<=" ? summary.median <= bar.value : summary.median >= bar.value;
  return met ? "met" : "missed";
}

/** Whether the median's whole confidence interval is on one side of the bar; else more runs could turn the verdict. */
export function isSure({ bar, interval }: Pick<Result, "bar" | "interval">): boolean {
  if (!bar) return true;
  return (interval.low <= bar.value) === (interval.high <= bar.value);
}

/** Three significant digits for small figures, whole numbers for large ones; a ratio has two decimals at least. */
export function formatValue(value: number, unit: Unit): string {
  return withUnit(formatNumber(value, unit), unit);
}

/** `0.93..0.97`: two values of one unit. */
export function formatRange(low: number, high: number, unit: Unit): string {
  return withUnit(`${formatNumber(low, unit)}..${formatNumber(high, unit)}`, unit);
}

function withUnit(text: string, unit: Unit): string {
  return unit === "×" ? text : `${text} ${unit}`;
}

function formatNumber(value: number, unit: Unit): string {
  const magnitude = Math.abs(value);
  const decimals = magnitude >= 100
    ? 0
    : magnitude >= 10
    ? 1
    : magnitude >= 1
    ? 2
    : magnitude >= 0.01 || magnitude === 0
    ? 3
    : 5;
  return value.toFixed(Math.max(decimals, unit === "×" ? 2 : 0));
}

/** `≤ 1.25`. */
export function formatBar(bar: Bar | undefined, unit: Unit): string {
  if (!bar) return "–";
  const value = unit === "×" ? bar.value.toFixed(2) : formatValue(bar.value, unit);
  return `${bar.op === "<=" ? "≤" : "≥"} ${value}`;
}

/** `5.21 µs ÷ 5.62 µs`: medians of both sides. */
export function formatSides(sides: readonly Side[]): string {
  return sides.map(({ label, unit, summary }) => `${label} ${formatValue(summary.median, unit)}`)
    .join(", ");
}
