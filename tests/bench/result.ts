/** Rows of the benchmarks: a figure, the bar it is held to, and what it is made of (pure). */
import { formatNumber } from "../../src/measure/format.ts";
import { medianInterval, pairedRatios, summarize, type Summary } from "./stats.ts";

/** What a figure must reach: at most (`≤`) or at least (`≥`) so much. */
interface Bar {
  op: "≤" | "≥";
  value: number;
}

/** A row of rows.ts. */
interface Row {
  /** As `--only` takes it. */
  measure: string;
  /** Before the labels in the measure's values; empty where it has one series alone. */
  series: string;
  /** Of the values; that of a ratio is "×". */
  unit: string;
  bar: Bar | undefined;
  /** Of one value, or of a ratio's contenders. */
  labels: string[];
  title: string;
  note: string | undefined;
}

/** A measured row. */
export interface Result {
  measure: string;
  title: string;
  unit: string;
  /** Of the single runs' figures. */
  summary: Summary;
  /** Of the median: 95 % confidence. */
  interval: { low: number; high: number };
  bar: Bar | undefined;
  /** A ratio's contenders, in their own unit. */
  contenders: { label: string; unit: string; summary: Summary }[];
  note: string | undefined;
}

/** What a measure found: the values of each label, run by run, and what a reader has to know of all its rows. */
export interface Found {
  values: Record<string, number[]>;
  note?: string | undefined;
}

/** @throws {Error} for a line that is neither a row nor the head of a group */
export function parseRows(text: string): Row[] {
  let group: Pick<Row, "measure" | "series" | "unit"> | undefined;
  return text.trim().split("\n").flatMap((line) => {
    const head = /^(\S+)(?: (\S+))?, (\S+)$/.exec(line);
    if (head) {
      group = { measure: head[1]!, series: head[2] ?? "", unit: head[3]! };
      return [];
    }
    const [bar = "", figure = "", title, note] = line.split("|").map((cell) => cell.trim());
    const [, op, value] = /^([≤≥]) ([\d.]+)$/.exec(bar) ?? [];
    if (!group || !title || Boolean(bar) !== Boolean(op)) throw new Error(`no row: ${line}`);
    return [{
      ...group,
      bar: op ? { op: op as Bar["op"], value: Number(value) } : undefined,
      labels: figure.split(" ÷ "),
      title,
      note,
    }];
  });
}

/** Values of a series, as `Found` has them. */
export function series(name: string, values: Record<string, number[]>): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(values).map(([label, list]) => [`${name} ${label}`, list]),
  );
}

/** The row's result; undefined when one of its contenders could not be had. */
export function resultOf(row: Row, { values, note }: Found): Result | undefined {
  const { measure, title, bar, labels } = row;
  const taken = labels.map((label) => values[row.series ? `${row.series} ${label}` : label]);
  const [own, peer] = taken;
  if (!own || labels.length > 1 && !peer) return undefined;
  const figures = peer ? pairedRatios(own, peer) : own;
  return {
    ...{ measure, title, bar, unit: peer ? "×" : row.unit },
    summary: summarize(figures),
    interval: medianInterval(figures),
    contenders: peer
      ? labels.map((label, i) => ({ label, unit: row.unit, summary: summarize(taken[i]!) }))
      : [],
    note: row.note ?? note,
  };
}

/** Whether the median reaches the bar; undefined without one. */
export function isMet({ bar, summary }: Pick<Result, "bar" | "summary">): boolean | undefined {
  return bar && (bar.op === "≤" ? summary.median <= bar.value : summary.median >= bar.value);
}

/** Whether the median's whole confidence interval is on one side of the bar; else more runs could turn the verdict. */
export function isSure({ bar, interval }: Pick<Result, "bar" | "interval">): boolean {
  return !bar || (interval.low <= bar.value) === (interval.high <= bar.value);
}

/** What the columns of a table are. */
export const HEAD = ["measure", "figure", "half of the runs", "bar", "verdict", "runs", "medians"];

/** Cells of one row, in the order of HEAD. */
export function cells(result: Result): string[] {
  const { title, summary, unit, bar, contenders } = result;
  const withUnit = (text: string, unit: string) => unit === "×" ? text : `${text} ${unit}`;
  const value = (value: number, of = unit) => withUnit(formatNumber(value), of);
  const met = isMet(result);
  const verdict = `${met ? "met" : "missed"}${isSure(result) ? "" : " (close)"}`;
  return [
    title,
    value(summary.median),
    value(summary.q1).replace(` ${unit}`, "") + ".." + value(summary.q3),
    bar ? `${bar.op} ${unit === "×" ? bar.value.toFixed(2) : value(bar.value)}` : "–",
    met === undefined ? "–" : verdict,
    String(summary.n),
    contenders.map(({ label, unit, summary }) => `${label} ${value(summary.median, unit)}`).join(
      ", ",
    ),
  ];
}
