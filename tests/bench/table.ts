/** Results as text: aligned columns for a terminal, a Markdown table for the documentation (pure). */
import {
  formatBar,
  formatRange,
  formatSides,
  formatValue,
  isSure,
  type Result,
  verdict,
} from "./result.ts";

/** What the columns are. */
export const HEAD = ["measure", "figure", "half of the runs", "bar", "verdict", "runs", "medians"];

/** Cells of one row, in the order of HEAD. */
export function cells(result: Result): string[] {
  const { title, summary, unit, bar, sides } = result;
  const word = verdict(result);
  return [
    title,
    formatValue(summary.median, unit),
    formatRange(summary.q1, summary.q3, unit),
    formatBar(bar, unit),
    word === "reported" ? "–" : isSure(result) ? word : `${word} (close)`,
    String(summary.n),
    formatSides(sides),
  ];
}

/** Columns of equal width, two blanks apart; nothing trails. */
export function textTable(results: readonly Result[]): string {
  const rows = [HEAD, ...results.map(cells)];
  const widths = HEAD.map((_, i) => Math.max(...rows.map((row) => width(row[i]!))));
  return rows.map((row) => {
    return row.map((cell, i) => cell + " ".repeat(widths[i]! - width(cell))).join("  ").trimEnd();
  }).join("\n");
}

/** Characters, not code units. */
function width(text: string): number {
  return [...text].length;
}

/** A line of a Markdown table; what is in the cells is Markdown. */
export function markdownLine(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

/** Cells of one row as Markdown, in the order of HEAD; a bar that was missed stands out. */
export function markdownCells(result: Result): string[] {
  const row = cells(result).map((cell) => cell.replaceAll("|", "\\|"));
  if (verdict(result) === "missed") row[4] = `**${row[4]}**`;
  return row;
}

export function markdownTable(results: readonly Result[]): string {
  const rows = results.map((result) => markdownLine(markdownCells(result)));
  return [markdownLine(HEAD), markdownLine(HEAD.map(() => "---")), ...rows].join("\n");
}
