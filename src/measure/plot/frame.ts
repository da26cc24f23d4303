/** What all pictures have in common: heading, foot, colours, and words for those who cannot see them (pure). */
import type { Line, Measure } from "../report.ts";
import { element, escapeXml, fit, FONT, text, textWidth, wrap } from "../../model/svg.ts";

/** Pixels; GitHub shows pages about as wide. */
export const WIDTH = 880;
export const MARGIN = 24;
/** Room between the margins. */
export const INNER = WIDTH - 2 * MARGIN;

export const SIZE = { title: 17, normal: 13, small: 12 };
/** A sheet of its own, so that the picture reads the same on light and dark pages, and on paper. */
export const INK = {
  text: "#1f2328",
  quiet: "#57606a",
  grid: "#e1e4e8",
  axis: "#8b949e",
  paper: "#ffffff",
  border: "#d0d7de",
  bad: "#b42318",
};

/** A part of a picture; `draw` gets the y of its upper edge. */
export interface Part {
  height: number;
  draw(y: number): string;
}

/** Lines of text, one below the other. */
export function paragraph(
  lines: readonly string[],
  style: { size?: number; fill?: string; bold?: boolean; x?: number; full?: string } = {},
): Part {
  const { size = SIZE.small, fill = INK.quiet, bold = false, x = MARGIN, full } = style;
  const row = size * 1.4;
  return {
    height: lines.length * row,
    draw: (y) =>
      lines.map((line, i) =>
        text(x, y + (i + 0.8) * row, line, {
          "font-size": size,
          fill,
          "font-weight": bold ? 600 : undefined,
        }, full)
      ).join("\n"),
  };
}

export function gap(height: number): Part {
  return { height, draw: () => "" };
}

/** In the place of what would be drawn. */
export function nothing(): Part {
  return paragraph(["no values"], { fill: INK.bad });
}

/** What is measured, in what, and how it is drawn. */
function heading({ title, unit, better, tool }: Measure, how: string): Part[] {
  const facts = [unit, `${better} is better`, tool, how].filter((each) => each !== "").join(" · ");
  return [
    paragraph(wrap(title, INNER, SIZE.title, 2, true), {
      size: SIZE.title,
      fill: INK.text,
      bold: true,
    }),
    gap(2),
    paragraph(wrap(facts, INNER, SIZE.small, 2)),
    gap(10),
  ];
}

/** Lines without values, and why. More than `limit` of them are counted only. */
function failures(lines: readonly Line[], limit = 8): Part[] {
  const failed = lines.filter(({ failed }) => failed !== undefined);
  const words = failed.slice(0, limit).flatMap(({ contender, path, failed }) =>
    wrap(`not measured: ${contender}, ${path}: ${failed}`, INNER, SIZE.small, 2)
  );
  if (failed.length > limit) words.push(`… and ${failed.length - limit} more lines`);
  return words.length === 0 ? [] : [gap(8), paragraph(words, { fill: INK.bad })];
}

/** The whole picture: a document that stands alone. */
export function picture(
  measure: Measure,
  parts: {
    how: string;
    unit: string;
    body: readonly Part[];
    /** Lines whose failures stand at the foot. */
    failed: readonly Line[];
    description: string;
  },
): string {
  const all = [
    gap(16),
    ...heading({ ...measure, unit: parts.unit }, parts.how),
    ...parts.body,
    ...failures(parts.failed),
    gap(16),
  ];
  let y = 0;
  const drawn = all.map((part) => {
    const svg = part.draw(y);
    y += part.height;
    return svg;
  }).filter((svg) => svg !== "");
  const height = Math.ceil(y);
  return element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      width: WIDTH,
      height,
      viewBox: `0 0 ${WIDTH} ${height}`,
      role: "img",
      "font-family": FONT,
      "font-size": SIZE.normal,
    },
    [
      "",
      element("title", {}, escapeXml(measure.title)),
      element("desc", {}, escapeXml(parts.description)),
      element("rect", {
        x: 0.5,
        y: 0.5,
        width: WIDTH - 1,
        height: height - 1,
        rx: 8,
        fill: INK.paper,
        stroke: INK.border,
      }),
      ...drawn,
      "",
    ].join("\n"),
  ) + "\n";
}

/** Labels in rows, each behind a sample of what it names. `sample` draws 30 pixels from x on, centred on y. */
export function legend(
  entries: readonly { name: string; sample: (x: number, y: number) => string }[],
): Part {
  const row = 22, sample = 38, between = 22, widest = 300;
  const pinned: { x: number; row: number }[] = [];
  let x = MARGIN, rows = 0;
  for (const { name } of entries) {
    const width = sample + Math.min(textWidth(name, SIZE.normal), widest);
    if (x > MARGIN && x + width > MARGIN + INNER) x = MARGIN, rows++;
    pinned.push({ x, row: rows });
    x += width + between;
  }
  return {
    height: entries.length === 0 ? 0 : (rows + 1) * row + 6,
    draw: (y) =>
      entries.map(({ name, sample: draw }, i) => {
        const { x, row: at } = pinned[i]!;
        const middle = y + at * row + row / 2;
        return draw(x, middle) +
          text(x + sample, middle + 4.5, fit(name, widest, SIZE.normal), { fill: INK.text }, name);
      }).join("\n"),
  };
}
