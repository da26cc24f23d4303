/** A report as Markdown: the machine, each measure's picture and table, and plainly where pcnk is behind (pure). */
import {
  formatNumber,
  formatValue,
  formatX,
  formatXUnit,
  type Scaled,
  scaledUnit,
} from "./format.ts";
import { block, inline, lines, table } from "./markdown_text.ts";
import type { Line, Measure, Report } from "./report.ts";
import { compare, type Comparison, OWN, type Summary, summaryAt } from "./summary.ts";

/** The file of a measure's picture, relative to the report. */
interface PicturePlace {
  id: string;
  name: string;
}

export function markdownReport(report: Report, pictures: readonly PicturePlace[]): string {
  const { pcnk, taken, measures, notes } = report;
  const parts = [
    "# What `pcnk bench` measured",
    `pcnk ${inline(pcnk)}, ${inline(taken)}.`,
    table([["machine", ""], ...facts(report.machine)]),
    table([["option", ""], ...facts(report.options)]),
    notes.length === 0 ? "" : `What to know:\n\n${lines(notes)}`,
    behind(measures),
    HOW_TO_READ,
    ...measures.map((measure) => section(measure, pictures)),
  ];
  return parts.filter((part) => part !== "").join("\n\n") + "\n";
}

const HOW_TO_READ = "Each figure is the median of its runs; half of them lie between the two " +
  "values behind it. “pcnk ÷ it” is pcnk's median divided by that contender's. “close” means that the " +
  "halves overlap or the runs are fewer than three, so that another run may end otherwise. Compare figures of one report, never " +
  "those of two machines or two days.";

/** Key and value, nested ones as `a.b`; an unknown value is a dash. */
function facts(values: Readonly<Record<string, unknown>>, prefix = ""): string[][] {
  return Object.entries(values).flatMap(([key, value]) => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return facts(value as Record<string, unknown>, `${prefix}${key}.`);
    }
    const said = value === null || value === undefined
      ? "–"
      : Array.isArray(value)
      ? value.join(", ")
      : String(value);
    return [[inline(prefix + key), inline(said)]];
  });
}

/** A peer on one path, at one x if the measure has any, against pcnk there. */
interface Pair {
  measure: Measure;
  peer: Line;
  x: number | undefined;
  comparison: Comparison;
}

/** Every pair of a measure that can be compared. */
function pairs(measure: Measure): Pair[] {
  const own = measure.lines.filter(({ contender }) => contender === OWN);
  return measure.lines.filter(({ contender }) => contender !== OWN).flatMap((peer) =>
    own.filter(({ path }) => path === peer.path).flatMap((line) => {
      const byX = measure.plot === "curve" ? xsOf([line, peer]) : [undefined];
      return byX.flatMap((x) => {
        const [a, b] = [summaryAt(line, x), summaryAt(peer, x)];
        const comparison = a && b && compare(a, b, measure.better);
        return comparison ? [{ measure, peer, x, comparison }] : [];
      });
    })
  );
}

function xsOf(lines: readonly Line[]): number[] {
  const all = lines.flatMap(({ points }) => points.flatMap(({ x }) => x === undefined ? [] : [x]));
  return [...new Set(all)].sort((a, b) => a - b);
}

/** The comparisons in which a peer does better. */
function behind(measures: readonly Measure[]): string {
  const all = measures.flatMap(pairs);
  if (all.length === 0) return "Nothing here compares pcnk with another contender.";
  const worse = all.filter(({ comparison }) => comparison.verdict === "worse");
  if (worse.length === 0) return `pcnk is behind in none of ${all.length} comparisons.`;
  const head = `**pcnk is behind in ${worse.length} of ${all.length} comparisons:**`;
  return `${head}\n\n${
    lines(worse.map(({ measure, peer, x, comparison }) => {
      const where = x === undefined ? "" : ` at ${formatXUnit(x, measure.axis?.unit ?? "")}`;
      return `${measure.title}, ${peer.path}${where}: ${
        ratio(comparison)
      } × ${peer.contender}'s (${measure.better} is better${comparison.sure ? "" : "; close"})`;
    }))
  }`;
}

function section(measure: Measure, pictures: readonly PicturePlace[]): string {
  const { id, title, unit, better, tool, plot } = measure;
  const found = measure.lines.flatMap((line) => summaryAt(line, undefined) ?? []);
  const scaled = scaledUnit(unit, Math.max(0, ...found.map(({ median }) => median)));
  const picture = pictures.find((each) => each.id === id);
  const failed = measure.lines.filter((line) => line.failed !== undefined).map((line) =>
    `not measured: ${line.contender}, ${line.path}: ${line.failed}`
  );
  return [
    `## ${inline(title)}`,
    `${inline(scaled.unit)}, ${better} is better${tool === "" ? "" : `; ${inline(tool)}`}.`,
    picture === undefined ? "" : `![${inline(title)}](${encodeURI(picture.name)})`,
    plot === "curve" ? curveTable(measure, scaled) : lineTable(measure, scaled),
    failed.length === 0 ? "" : lines(failed),
  ].filter((part) => part !== "").join("\n\n");
}

/** A row for each line. */
function lineTable(measure: Measure, unit: Scaled): string {
  const compared = pairs(measure);
  // Over time one run gives many.
  const values = measure.plot === "time" ? "samples" : "runs";
  const rows = measure.lines.map((line) => {
    const summary = summaryAt(line, undefined);
    if (!summary) return [line.path, line.contender, "not measured", "–", "–", "–", "–"].map(block);
    const { n, median, q1, q3, min, max } = summary;
    const pair = compared.find(({ peer }) => peer === line);
    const range = (low: number, high: number) =>
      `${formatNumber(low / unit.factor)} … ${formatNumber(high / unit.factor)}`;
    return [
      ...[line.path, line.contender, formatValue(median, unit), range(q1, q3), range(min, max)].map(
        block,
      ),
      String(n),
      pair === undefined ? "–" : verdict(pair.comparison),
    ];
  });
  return table([
    ["path", "contender", "median", `half of the ${values}`, `all ${values}`, values, "pcnk ÷ it"],
    ...rows,
  ]);
}

/** A row for each path and x, a column for each contender. */
function curveTable(measure: Measure, unit: Scaled): string {
  const { lines, axis } = measure;
  const contenders = [...new Set(lines.map(({ contender }) => contender))];
  const peers = contenders.filter((contender) => contender !== OWN);
  const compared = pairs(measure);
  const rows = [...new Set(lines.map(({ path }) => path))].flatMap((path) => {
    const here = lines.filter((line) => line.path === path);
    return xsOf(here).map((x) => [
      block(path),
      formatX(x, axis?.unit ?? ""),
      ...contenders.map((contender) => {
        const line = here.find((each) => each.contender === contender);
        const summary = line && summaryAt(line, x);
        return summary ? cell(summary, unit) : "–";
      }),
      ...peers.map((contender) => {
        const pair = compared.find(({ peer, x: its }) =>
          peer.path === path && peer.contender === contender && its === x
        );
        return pair === undefined ? "–" : verdict(pair.comparison);
      }),
    ]);
  });
  const xName = axis === undefined
    ? "x"
    : axis.unit === ""
    ? axis.name
    : `${axis.name} (${axis.unit})`;
  const head = ["path", xName, ...contenders, ...peers.map((contender) => `pcnk ÷ ${contender}`)];
  return rows.length === 0 ? "" : table([head.map(block), ...rows]);
}

function cell({ n, median, q1, q3 }: Summary, { factor }: Scaled): string {
  const number = (value: number) => formatNumber(value / factor);
  return n < 3 ? number(median) : `${number(median)} (${number(q1)} … ${number(q3)})`;
}

function ratio({ ratio }: Comparison): string {
  return ratio >= 0.1 ? ratio.toFixed(2) : ratio.toPrecision(2);
}

function verdict(comparison: Comparison): string {
  const { verdict, sure } = comparison;
  const words = verdict === "same" ? ratio(comparison) : `${ratio(comparison)} ${verdict}`;
  const said = sure || verdict === "same" ? words : `${words} (close)`;
  return verdict === "worse" ? `**${said}**` : said;
}
