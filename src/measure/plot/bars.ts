/**
 * Bars: a row for each contender, grouped by path; median, quartiles and range of its samples, and the figures in words.
 * Rows and not columns, because names are long and may be many. Where the medians lie so far apart that small ones would be
 * invisible, marks on a logarithmic axis take the bars' place: a bar's length means nothing there.
 */
import { max, min } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";
import { symbol } from "d3-shape";
import { formatNumber, formatTick, formatValue, type Scaled, scaledUnit } from "../format.ts";
import type { Line, Measure } from "../report.ts";
import { samplesOf, summarize, type Summary } from "../summary.ts";
import { describe } from "./describe.ts";
import {
  gap,
  INK,
  INNER,
  MARGIN,
  nothing,
  paragraph,
  type Part,
  picture,
  SIZE,
  WIDTH,
} from "./frame.ts";
import { isPower } from "./scales.ts";
import type { Look } from "./looks.ts";
import { element, fit, text, textWidth } from "../../model/svg.ts";

/** From this ratio of the largest to the smallest median on the axis is logarithmic. */
const LOG_FROM = 300;
const ROW = 24, BAR = 14;

type Scale = (value: number) => number;
interface Axis {
  x: Scale;
  ticks: number[];
  log: boolean;
  /** Of the axis' labels. */
  unit: Scaled;
  /** Of a figure: on a logarithmic axis each has its own prefix. */
  unitOf: (value: number) => Scaled;
  /** Pixels: where bars begin and may end, and where the medians' column ends. */
  left: number;
  right: number;
  value: number;
}
interface Row {
  line: Line;
  summary: Summary | undefined;
}

export function bars(measure: Measure, looks: ReadonlyMap<string, Look>): string {
  const rows = measure.lines.map((line) => ({ line, summary: summarize(samplesOf(line)) }));
  const axis = axisFor(rows, measure.unit);
  const paths = [...new Set(rows.map(({ line }) => line.path))];
  const body = paths.flatMap((path) => [
    gap(6),
    paragraph([fit(path, INNER, SIZE.normal, true)], {
      size: SIZE.normal,
      fill: INK.text,
      bold: true,
      full: path,
    }),
    gap(3),
    ...rows.filter(({ line }) => line.path === path).map((row) => rowPart(row, axis, looks)),
  ]);
  return picture(measure, {
    how: axis.log
      ? "mark: median, box: half of the runs, whisker: all; logarithmic axis"
      : "bar: median, box: half of the runs, whisker: all",
    unit: axis.unit.unit,
    body: rows.length === 0 ? [nothing()] : [...body, axisPart(axis)],
    // The others' rows say it themselves.
    failed: measure.lines.filter((line) => summarize(samplesOf(line)) !== undefined),
    description: describe(measure, axis.unit),
  });
}

/** The columns (names, bars, medians, halves) and the scale of the second. */
function axisFor(rows: readonly Row[], unit: string): Axis {
  const found = rows.flatMap(({ summary }) => summary ?? []);
  const medians = found.map(({ median }) => median);
  const largest = max(found, (each) => each.max) ?? 0;
  const smallest = min(found, (each) => each.min) ?? 0;
  const log = smallest > 0 && (max(medians) ?? 1) / (min(medians) ?? 1) >= LOG_FROM;
  const shared = scaledUnit(unit, max(medians) ?? 0);
  const unitOf = (value: number) => log ? scaledUnit(unit, value) : shared;
  const widest = (texts: string[], size: number, bold = false) =>
    max(texts, (each) => textWidth(each, size, bold)) ?? 0;
  const names = widest(rows.map(({ line }) => line.contender), SIZE.normal);
  const left = MARGIN + Math.min(names, 190) + 12;
  const halves = widest(found.map((each) => halfOf(each, unitOf)), SIZE.small - 1);
  const value = WIDTH - MARGIN - halves - 18;
  const values = found.map(({ median }) => formatValue(median, unitOf(median)));
  const right = value - widest(values, SIZE.normal, true) - 24;
  const scale = log
    ? scaleLog().domain([smallest, largest]).nice().range([left, right])
    : scaleLinear().domain([Math.min(0, smallest), largest > smallest ? largest : largest || 1])
      .nice(5).range([left, right]);
  const ticks = scale.ticks(5).filter((tick) => !log || isPower(tick));
  const step = Math.ceil(ticks.length / 7);
  return {
    x: scale,
    ticks: ticks.filter((_, i) => i % step === 0),
    log,
    unit: log ? { unit, factor: 1 } : shared,
    unitOf,
    left,
    right,
    value,
  };
}

function grid({ x, ticks }: Axis, y: number, height: number): string {
  return ticks.map((tick) =>
    element("path", { d: `M${x(tick).toFixed(2)} ${y}v${height}`, stroke: INK.grid })
  ).join("");
}

function axisPart({ x, ticks, log, unit, unitOf, left, right }: Axis): Part {
  const tickLabel = (tick: number) => {
    const { unit: own, factor } = log ? unitOf(tick) : unit;
    return `${formatTick(tick / factor)}${log ? ` ${own}` : ""}`.trimEnd();
  };
  return {
    height: 26,
    draw: (y) =>
      element("path", { d: `M${left} ${y}H${right}`, stroke: INK.axis }) +
      ticks.map((tick) =>
        text(x(tick), y + 17, tickLabel(tick), {
          "text-anchor": "middle",
          "font-size": SIZE.small,
          fill: INK.quiet,
        })
      ).join("") +
      (log
        ? ""
        : text(right + 26, y + 17, unit.unit, { "font-size": SIZE.small, fill: INK.quiet })),
  };
}

function rowPart({ line, summary }: Row, axis: Axis, looks: ReadonlyMap<string, Look>): Part {
  const look = looks.get(line.contender)!;
  return {
    height: ROW,
    draw: (y) => {
      const middle = y + ROW / 2;
      const name = grid(axis, y, ROW) + text(
        MARGIN,
        middle + 4.5,
        fit(line.contender, axis.left - MARGIN - 12, SIZE.normal),
        {
          fill: INK.text,
        },
        line.contender,
      );
      if (summary === undefined) {
        const why = line.failed ?? "no values";
        const said = fit(why, WIDTH - MARGIN - axis.left, SIZE.small);
        return name + text(axis.left + 6, middle + 4, said, {
          "font-size": SIZE.small,
          fill: INK.bad,
        }, why);
      }
      return name + spread(summary, axis, look, middle) + figures(summary, axis, middle);
    },
  };
}

/** A bar to the median and, from three samples on, box and whiskers. */
function spread(summary: Summary, { x, log }: Axis, { color, mark }: Look, y: number): string {
  const { n, median, q1, q3, min: low, max: high } = summary;
  const at = (value: number) => Math.round(x(value) * 100) / 100;
  const origin = at(log ? median : 0);
  const parts = log ? [] : [element("rect", {
    x: Math.min(origin, at(median)),
    y: y - BAR / 2,
    width: Math.abs(at(median) - origin),
    height: BAR,
    fill: color,
    "fill-opacity": 0.28,
  })];
  if (n >= 2) {
    parts.push(element("path", {
      d: `M${at(low)} ${y}H${at(high)}M${at(low)} ${y - 4}v8M${at(high)} ${y - 4}v8`,
      stroke: color,
      "stroke-width": 1.5,
      fill: "none",
    }));
  }
  if (n >= 3) {
    parts.push(element("rect", {
      x: at(q1),
      y: y - BAR / 2,
      width: Math.max(at(q3) - at(q1), 1),
      height: BAR,
      fill: color,
    }));
  }
  parts.push(
    log
      ? element("path", {
        d: symbol(mark, 60)()!,
        transform: `translate(${at(median)},${y})`,
        fill: color,
        stroke: INK.paper,
      })
      : element("path", {
        d: `M${at(median)} ${y - BAR / 2 - 2}v${BAR + 4}`,
        stroke: n >= 3 ? INK.text : color,
        "stroke-width": 2,
      }),
  );
  return parts.join("");
}

/** Median and half of the runs, in words. */
function figures(summary: Summary, { value, unitOf }: Axis, y: number): string {
  return text(value, y + 4.5, formatValue(summary.median, unitOf(summary.median)), {
    "text-anchor": "end",
    "font-weight": 600,
    fill: INK.text,
  }) +
    text(WIDTH - MARGIN, y + 4.5, halfOf(summary, unitOf), {
      "text-anchor": "end",
      "font-size": SIZE.small - 1,
      fill: INK.quiet,
    });
}

/** Quartiles from three samples on, in the median's unit. */
function halfOf({ n, median, q1, q3 }: Summary, unitOf: Axis["unitOf"]): string {
  const { factor } = unitOf(median);
  if (n >= 3) return `${formatNumber(q1 / factor)} … ${formatNumber(q3 / factor)}`;
  return n === 1 ? "1 run" : `${n} runs`;
}
