/** A picture of a terminal, as SVG that stands alone (pure). */
import { element, escapeXml, text } from "../../src/model/svg.ts";
import { type Run, screen, type Style } from "./terminal.ts";

/** A command as it was typed, and what it wrote. */
export interface Shot {
  prompt: string;
  command: string;
  output: string;
}

/** DejaVu Sans Mono and Menlo are as wide; narrower fonts are stretched by textLength. */
const FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
const SIZE = 13, CELL = SIZE * 0.602, ROW = 16;
const BAR = 30, EDGE = 16;

/** GitHub's dark colours, each at 4.5 : 1 and more against the paper. */
const PAPER = "#0d1117", INK = "#e6edf3", DIM = "#9198a1", FRAME = "#30363d", TOP = "#161b22";
const COLORS = ["#6e7681", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", INK];

/** The picture; `title` stands in the bar above, all text in the description. Longer lines wrap. */
export function screenshot(title: string, shots: readonly Shot[], wrapAt: number): string {
  const rows = shots.flatMap(({ prompt, command, output }, i) => [
    ...(i > 0 ? [[]] : []),
    ...screen(`\x1b[32m${prompt}\x1b[0m \x1b[1m${command}\x1b[0m`),
    ...screen(output, wrapAt),
  ]);
  const columns = Math.max(...rows.map(widthOf), 60);
  const width = Math.ceil(columns * CELL) + 2 * EDGE;
  const height = BAR + rows.length * ROW + 2 * EDGE - 4;
  const lines = rows.flatMap((runs, i) =>
    runs.map((run) => drawRun(run, BAR + EDGE + i * ROW + SIZE - 2))
  );
  const dots = [0, 1, 2].map((i) =>
    element("circle", { cx: 18 + i * 18, cy: BAR / 2, r: 5, fill: FRAME })
  );
  const box = { x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 8 };
  return element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "font-family": FONT,
      "font-size": SIZE,
    },
    [
      "",
      element("title", {}, escapeXml(title)),
      element("desc", {}, escapeXml(plain(rows))),
      element("rect", { ...box, fill: PAPER, stroke: FRAME }),
      element("path", {
        d: `M1 ${BAR}V9a8 8 0 0 1 8-8H${width - 9}a8 8 0 0 1 8 8V${BAR}z`,
        fill: TOP,
      }),
      ...dots,
      text(width / 2, BAR / 2 + 4.5, title, { "text-anchor": "middle", fill: DIM }),
      ...lines,
      "",
    ].join("\n"),
  ) + "\n";
}

function drawRun({ column, text: content, style }: Run, y: number): string {
  return text(EDGE + column * CELL, y, content, {
    fill: fill(style),
    "font-weight": style.bold ? 700 : undefined,
    textLength: [...content].length * CELL,
    lengthAdjust: "spacingAndGlyphs",
    "xml:space": "preserve",
  });
}

function fill({ color, dim }: Style): string {
  if (color === undefined) return dim ? DIM : INK;
  return COLORS[color % 8]!;
}

function widthOf(runs: readonly Run[]): number {
  const last = runs.at(-1);
  return last === undefined ? 0 : last.column + [...last.text].length;
}

function plain(rows: readonly Run[][]): string {
  return rows.map((runs) => runs.reduce((line, { column, text }) => line.padEnd(column) + text, ""))
    .join("\n");
}
