/** The matrix as text: a table as detailed as the width allows, then a reason for every red cell (pure). */
import type { Cell, RowResult } from "./matrix.ts";
import { columns, type Paint, widthOf } from "../view/terminal.ts";

/** Who the columns stand for. */
export interface Sources {
  nodes: string[];
  /** Pods with their nodes. */
  pods: { name: string; node: string }[];
  /** Who is neither; shown when there is anything to show of them. */
  others: string[];
}

/** A finished test. */
export interface TestReport {
  rows: RowResult[];
  /** Cells, not rows. */
  passed: number;
  failed: number;
}

/** Counts the cells. */
export function summarize(rows: RowResult[]): TestReport {
  const cells = rows.flatMap((row) => row.cells);
  const passed = cells.filter((cell) => cell.ok).length;
  return { rows, passed, failed: cells.length - passed };
}

/** Findings beyond this many are counted, not shown; so are paths of one finding beyond the second limit. */
const SHOWN = 20;
const PATHS_SHOWN = 8;

/** The whole report. */
export function renderReport(report: TestReport, sources: Sources, width: number, paint: Paint) {
  const lines = [...renderTable(report.rows, sources, width, paint), ""];
  const found = findings(report.rows);
  for (const { what, paths, hint } of found.slice(0, SHOWN)) {
    lines.push(`${paint("red", "✗")} ${what}`);
    lines.push(`  ${paths.slice(0, PATHS_SHOWN).join(", ")}${more(paths.length - PATHS_SHOWN)}`);
    if (hint) lines.push(`  ${paint("yellow", "hint:")} ${hint}`);
  }
  if (found.length > SHOWN) lines.push(`  …${more(found.length - SHOWN)}; -o json lists all`);
  if (found.length > 0) lines.push("");
  lines.push(summaryLine(report, paint));
  return lines.join("\n") + "\n";
}

function more(count: number): string {
  return count > 0 ? ` and ${count} more` : "";
}

/** Red cells of one row with the same reason and the same hint are one finding. */
interface Finding {
  what: string;
  hint?: string;
  paths: string[];
}

function findings(rows: RowResult[]): Finding[] {
  const found = new Map<string, Finding>();
  for (const { title, protocol, cells } of rows) {
    for (const { source, target, reason, hint } of cells.filter((cell) => !cell.ok)) {
      const what = `${title}, ${protocol}: ${reason}`;
      const key = JSON.stringify([what, hint]);
      const finding = found.get(key) ?? { what, hint: hint || undefined, paths: [] };
      found.set(key, finding);
      finding.paths.push(`${source} → ${target}`);
    }
  }
  return [...found.values()];
}

/** `41 passed, 0 failed` */
function summaryLine({ passed, failed }: TestReport, paint: Paint): string {
  const parts = [
    failed === 0 ? paint("green", `${passed} passed`) : `${passed} passed`,
    failed > 0 ? paint("red", `${failed} failed`) : "0 failed",
  ];
  return parts.join(", ");
}

/** A grouping of sources into columns. */
interface Layout {
  heads: string[];
  /** The head of a source's column. */
  columnOf(source: string): string;
}

function layouts({ nodes, pods, others }: Sources): Layout[] {
  const nodeOf = new Map(pods.map((pod) => [pod.name, pod.node]));
  const heads = nodes.flatMap((node) => [
    node,
    ...pods.filter((pod) => pod.node === node).map((pod) => pod.name),
  ]).concat(others);
  return [
    { heads, columnOf: (source) => source },
    { heads: [...nodes, ...others], columnOf: (source) => nodeOf.get(source) ?? source },
    { heads: ["all"], columnOf: () => "all" },
  ];
}

function renderTable(rows: RowResult[], sources: Sources, width: number, paint: Paint): string[] {
  const asked = new Set(rows.flatMap((row) => row.cells.map((cell) => cell.source)));
  const others = sources.others.filter((name) => asked.has(name));
  let lines: string[] = [];
  for (const layout of layouts({ ...sources, others })) {
    lines = columns([
      ["from → to", "", ...layout.heads].map((head) => paint("bold", head)),
      ...rows.map((row) => [row.title, row.protocol, ...rowCells(row, layout, paint)]),
    ]);
    if (lines.every((line) => widthOf(line) <= width)) return lines;
  }
  return lines;
}

function rowCells(row: RowResult, layout: Layout, paint: Paint): string[] {
  if (row.status === "no pair") return [paint("dim", row.status)];
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
