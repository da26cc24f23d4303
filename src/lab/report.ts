/** The matrix as text: a table as detailed as the width allows, then a reason for every red cell (pure). */
import type { Cell, RowResult } from "./matrix.ts";
import { columns, type Paint, widthOf } from "./terminal.ts";

/** Who the columns stand for. */
export interface Sources {
  nodes: string[];
  /** Pods with their nodes. */
  pods: { name: string; node: string }[];
}

/** A finished test. */
export interface TestReport {
  rows: RowResult[];
  /** Cells, not rows. */
  passed: number;
  failed: number;
  /** Rows. */
  notYet: number;
}

/** Counts the cells. */
export function summarize(rows: RowResult[]): TestReport {
  const cells = rows.flatMap((row) => row.cells);
  const passed = cells.filter((cell) => cell.ok).length;
  return {
    rows,
    passed,
    failed: cells.length - passed,
    notYet: rows.filter((row) => row.status === "not yet").length,
  };
}

/** Red cells beyond this many are counted, not shown. */
const SHOWN = 20;

/** The whole report. */
export function renderReport(report: TestReport, sources: Sources, width: number, paint: Paint) {
  const lines = [...renderTable(report.rows, sources, width, paint), ""];
  const red = report.rows.flatMap((row) =>
    row.cells.filter((cell) => !cell.ok).map((cell) => ({ row, cell }))
  );
  for (const { row, cell } of red.slice(0, SHOWN)) {
    const path = `${cell.source} → ${cell.target}`;
    lines.push(`${paint("red", "✗")} ${path} (${row.title}, ${row.protocol}): ${cell.reason}`);
    if (cell.hint) lines.push(`  ${paint("yellow", "hint:")} ${cell.hint}`);
  }
  if (red.length > SHOWN) lines.push(`  … and ${red.length - SHOWN} more; -o json lists all`);
  if (red.length > 0) lines.push("");
  lines.push(summaryLine(report, paint));
  return lines.join("\n") + "\n";
}

/** `41 passed, 0 failed, 5 rows not yet` */
export function summaryLine({ passed, failed, notYet }: TestReport, paint: Paint): string {
  const parts = [
    failed === 0 ? paint("green", `${passed} passed`) : `${passed} passed`,
    failed > 0 ? paint("red", `${failed} failed`) : "0 failed",
  ];
  if (notYet > 0) parts.push(paint("dim", `${notYet} rows not yet`));
  return parts.join(", ");
}

/** A grouping of sources into columns. */
interface Layout {
  heads: string[];
  /** The head of a source's column. */
  columnOf(source: string): string;
}

function layouts({ nodes, pods }: Sources): Layout[] {
  const nodeOf = new Map(pods.map((pod) => [pod.name, pod.node]));
  const heads = nodes.flatMap((node) => [
    node,
    ...pods.filter((pod) => pod.node === node).map((pod) => pod.name),
  ]);
  return [
    { heads, columnOf: (source) => source },
    { heads: nodes, columnOf: (source) => nodeOf.get(source) ?? source },
    { heads: ["all"], columnOf: () => "all" },
  ];
}

function renderTable(rows: RowResult[], sources: Sources, width: number, paint: Paint): string[] {
  let lines: string[] = [];
  for (const layout of layouts(sources)) {
    lines = columns([
      ["from → to", "", ...layout.heads].map((head) => paint("bold", head)),
      ...rows.map((row) => [row.title, row.protocol, ...rowCells(row, layout, paint)]),
    ]);
    if (lines.every((line) => widthOf(line) <= width)) return lines;
  }
  return lines;
}

function rowCells(row: RowResult, layout: Layout, paint: Paint): string[] {
  if (row.status === "not yet" || row.status === "no pair") return [paint("dim", row.status)];
  return layout.heads.map((head) =>
    renderCell(row.cells.filter((cell) => layout.columnOf(cell.source) === head), paint)
  );
}

/** One cell of the table stands for all questions of its column's sources: the slowest answer, or what is wrong. */
function renderCell(cells: Cell[], paint: Paint): string {
  if (cells.length === 0) return "";
  const red = cells.filter((cell) => !cell.ok);
  if (red.length === 0) return paint("green", formatMs(Math.max(...cells.map((c) => c.ms ?? 0))));
  const count = cells.length > 1 ? ` ${red.length}/${cells.length}` : "";
  return paint("red", `✗ ${red[0]!.short}${count}`);
}

/** `0.07 ms`, `12 ms` */
export function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;
}
