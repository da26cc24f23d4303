/**
 * Lines over time, and curves over a size: one panel a path, side by side, all on the same scales; a line for each contender
 * through the medians, a band where half of the runs are.
 */
import { extent, max } from "d3-array";
import { formatX, scaledUnit } from "../format.ts";
import type { Line, Measure } from "../report.ts";
import { summarize } from "../summary.ts";
import { describe } from "./describe.ts";
import { OWN } from "../summary.ts";
import { gap, INNER, legend, MARGIN, nothing, type Part, picture } from "./frame.ts";
import { panel, type Series, type Shared } from "./panel.ts";
import { type Scale, xScale, yScale } from "./scales.ts";
import type { Look } from "./looks.ts";
import { drawMark } from "./marks.ts";
import { element } from "../../model/svg.ts";

export function series(measure: Measure, looks: ReadonlyMap<string, Look>): string {
  const panels = [...new Set(measure.lines.map(({ path }) => path))].map((path) => ({
    path,
    series: measure.lines.filter((line) => line.path === path).map(toSeries)
      .filter(({ points }) => points.some(({ summary }) => summary))
      // pcnk's line last, so that no other hides it
      .sort((a, b) => Number(a.contender === OWN) - Number(b.contender === OWN)),
  })).filter(({ series }) => series.length > 0);
  const points = panels.flatMap(({ series }) => pointsOf(series));
  const unit = scaledUnit(measure.unit, max(points, ({ summary }) => summary?.median) ?? 0);
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const shared = {
    x: xScale(xs, measure.axis?.log === true),
    xTitle: axisTitle(measure),
    xLabel: (x: number) => formatX(x, measure.axis?.unit ?? ""),
    unit,
    looks,
  };
  const scales = yScales(panels.map(({ series }) => pointsOf(series)), measure.plot);
  const differ = new Set(scales).size > 1;
  const contenders = [...looks.keys()].filter((contender) =>
    panels.some(({ series }) => series.some((each) => each.contender === contender))
  );
  const how = [
    "line: median, band: half of the runs",
    ...(scales.some(({ log }) => log) ? ["logarithmic"] : []),
    ...(differ ? ["panels differ in scale"] : []),
  ];
  return picture(measure, {
    how: how.join("; "),
    unit: unit.unit,
    body: [
      legend(
        contenders.map((name) => ({ name, sample: (x, y) => sample(looks.get(name)!, x, y) })),
      ),
      ...rows(panels.map((panel, i) => ({ ...panel, shared: { ...shared, y: scales[i]! } }))),
    ],
    failed: measure.lines,
    description: describe(measure, unit),
  });
}

function pointsOf(series: readonly Series[]): Series["points"] {
  return series.flatMap(({ points }) => points);
}

/** One scale for all panels whose values are of one size; a panel that reaches less than half as far has its own. */
function yScales(panels: readonly Series["points"][], plot: Measure["plot"]): Scale[] {
  const values = panels.map((points) =>
    points.flatMap(({ summary }) => summary ? [summary.q1, summary.median, summary.q3] : [])
  );
  const highest = max(values.flat()) ?? 0;
  const isSmall = (own: readonly number[]) => (max(own) ?? 0) < highest / 2;
  const large = yScale(extent(values.filter((own) => !isSmall(own)).flat()), plot);
  return values.map((own) => isSmall(own) ? yScale(extent(own), plot) : large);
}

function axisTitle({ axis, plot }: Measure): string {
  const name = axis?.name ?? (plot === "time" ? "time" : "");
  const unit = axis?.unit ?? (plot === "time" ? "s" : "");
  return unit === "" || unit === name ? name : `${name} (${unit})`;
}

/** Points without x get their number: they were taken one after the other. */
function toSeries({ contender, points }: Line): Series {
  return {
    contender,
    points: points.map(({ x, samples }, i) => ({ x: x ?? i, summary: summarize(samples) }))
      .filter(({ x }) => Number.isFinite(x)).sort((a, b) => a.x - b.x),
  };
}

function sample({ color, dash, mark }: Look, x: number, y: number): string {
  return element("path", {
    d: `M${x} ${y}h30`,
    stroke: color,
    "stroke-width": 2,
    "stroke-dasharray": dash,
  }) + drawMark(mark, color, x + 15, y);
}

/** Panels in rows of two, or a single wide one. */
function rows(panels: readonly { path: string; series: Series[]; shared: Shared }[]): Part[] {
  if (panels.length === 0) return [nothing()];
  const between = 20;
  const columns = panels.length === 1 ? 1 : 2;
  const width = (INNER - (columns - 1) * between) / columns;
  const height = columns === 1 ? 330 : 240;
  const parts: Part[] = [];
  for (let i = 0; i < panels.length; i += columns) {
    const row = panels.slice(i, i + columns);
    parts.push({
      height,
      draw: (y) =>
        row.map(({ path, series, shared }, j) =>
          panel({ x: MARGIN + j * (width + between), y, width, height }, path, series, shared)
        ).join("\n"),
    }, gap(10));
  }
  return parts;
}
