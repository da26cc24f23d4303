/** One panel of a picture over x: axes, bands, lines and marks (pure). */
import { area, line } from "d3-shape";
import { formatTick, type Scaled } from "../format.ts";
import type { Summary } from "../summary.ts";
import { INK, SIZE } from "./frame.ts";
import { drawMark } from "./marks.ts";
import { type Scale, spaced } from "./scales.ts";
import type { Look } from "./looks.ts";
import { element, escapeXml, fit, text, textWidth } from "../../model/svg.ts";

/** Pixels. */
interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A line's values, in the order of x. */
export interface Series {
  contender: string;
  points: { x: number; summary: Summary | undefined }[];
}

/** What all panels of a picture share. */
export interface Shared {
  x: Scale;
  y: Scale;
  xTitle: string;
  xLabel: (x: number) => string;
  unit: Scaled;
  looks: ReadonlyMap<string, Look>;
}

/** More points than this on a line and marks would hide it. */
const MOST_MARKS = 24;

export function panel(box: Box, path: string, series: readonly Series[], shared: Shared): string {
  const labels = shared.y.ticks.map((tick) => formatTick(tick / shared.unit.factor));
  const left = 12 + Math.max(0, ...labels.map((label) => textWidth(label, SIZE.small)));
  const last = shared.xLabel(Math.max(0, ...shared.x.ticks));
  const inner: Box = {
    x: box.x + left,
    y: box.y + 46,
    width: box.width - left - Math.max(14, textWidth(last, SIZE.small) / 2),
    height: box.height - 46 - 42,
  };
  const place = placement(inner, shared);
  const drawn = series.map((each) => drawSeries(each, shared, place));
  return [
    text(box.x, box.y + 16, fit(path, box.width, SIZE.normal, true), {
      "font-weight": 600,
      fill: INK.text,
    }, path),
    text(box.x, box.y + 32, shared.unit.unit, { "font-size": SIZE.small, fill: INK.quiet }),
    yAxis(inner, shared, place),
    xAxis(inner, shared, place),
    ...drawn.map(({ band }) => band),
    ...drawn.map(({ stroke }) => stroke),
  ].join("");
}

interface Placement {
  x: (value: number) => number;
  y: (value: number) => number;
}

function placement({ x, y, width, height }: Box, shared: Shared): Placement {
  // A little room, so that marks on the edge are not on the axis.
  const edge = 8;
  return {
    x: (value) => x + edge + shared.x.at(value) * (width - 2 * edge),
    y: (value) => y + (1 - shared.y.at(value)) * height,
  };
}

function yAxis({ x, width }: Box, { y, unit }: Shared, place: Placement): string {
  const labels = y.ticks.map((tick) => ({ tick, at: place.y(tick), size: SIZE.small }));
  return spaced(labels, 3).map(({ tick, at }) =>
    element("path", {
      d: `M${x.toFixed(2)} ${at.toFixed(2)}h${width.toFixed(2)}`,
      stroke: INK.grid,
    }) +
    text(x - 6, at + 4, formatTick(tick / unit.factor), {
      "text-anchor": "end",
      "font-size": SIZE.small,
      fill: INK.quiet,
    })
  ).join("");
}

function xAxis({ x, y, width, height }: Box, shared: Shared, place: Placement): string {
  const bottom = y + height;
  const labels = shared.x.ticks.map((tick) => {
    const label = shared.xLabel(tick);
    return { label, at: place.x(tick), size: textWidth(label, SIZE.small) };
  });
  return element("path", {
    d: `M${x.toFixed(2)} ${bottom}h${width.toFixed(2)}`,
    stroke: INK.axis,
  }) +
    spaced(labels, 6).map(({ label, at }) =>
      element("path", { d: `M${at.toFixed(2)} ${bottom}v4`, stroke: INK.axis }) +
      text(at, bottom + 17, label, {
        "text-anchor": "middle",
        "font-size": SIZE.small,
        fill: INK.quiet,
      })
    ).join("") +
    text(x + width / 2, bottom + 34, fit(shared.xTitle, width, SIZE.small), {
      "text-anchor": "middle",
      "font-size": SIZE.small,
      fill: INK.quiet,
    }, shared.xTitle);
}

/** Band and line apart: all bands lie below all lines. */
function drawSeries({ contender, points }: Series, { looks }: Shared, place: Placement) {
  const { color, dash, mark } = looks.get(contender)!;
  const known = points.flatMap(({ x, summary }) => summary ? [{ x, ...summary }] : []);
  type Point = typeof points[number];
  const defined = ({ summary }: Point) => summary !== undefined;

  const band = area<Point>().defined(defined).x(({ x }) => place.x(x))
    .y0(({ summary }) => place.y(summary!.q1)).y1(({ summary }) => place.y(summary!.q3)).digits(2)(
      points,
    );
  const path = line<Point>().defined(defined).x(({ x }) => place.x(x))
    .y(({ summary }) => place.y(summary!.median)).digits(2)(points);
  const alone = known.length === 1
    ? element("path", {
      d: `M${place.x(known[0]!.x).toFixed(2)} ${place.y(known[0]!.q1).toFixed(2)}V${
        place.y(known[0]!.q3).toFixed(2)
      }`,
      stroke: color,
      "stroke-width": 2,
    })
    : "";
  return {
    band: element("path", { d: band ?? "", fill: color, "fill-opacity": 0.16 }),
    stroke: element("path", {
      d: path ?? "",
      stroke: color,
      "stroke-width": 2,
      "stroke-dasharray": dash,
      "stroke-linejoin": "round",
      fill: "none",
    }, element("title", {}, escapeXml(contender))) + alone +
      (known.length > MOST_MARKS
        ? ""
        : known.map(({ x, median }) => drawMark(mark, color, place.x(x), place.y(median))).join(
          "",
        )),
  };
}
