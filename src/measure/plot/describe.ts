/** A picture in words, for those who do not see it (pure). */
import { formatValue, formatXUnit, type Scaled } from "../format.ts";
import type { Measure } from "../report.ts";
import { samplesOf, summarize } from "../summary.ts";

/** One sentence a line of the measure; those over x have their first and last value. */
export function describe(measure: Measure, unit: Scaled): string {
  const { title, better, axis, lines } = measure;
  const sentences = lines.map((line) => {
    const who = `${line.contender}, ${line.path}`;
    const points = line.points.flatMap(({ x, samples }) => {
      const summary = summarize(samples);
      return summary === undefined ? [] : [{ x, median: summary.median }];
    });
    const all = summarize(samplesOf(line));
    if (all === undefined) return `${who}: not measured (${line.failed ?? "no values"}).`;
    const first = points[0]!, last = points.at(-1)!;
    if (measure.plot !== "curve" || points.length < 2) {
      return `${who}: median ${formatValue(all.median, unit)}.`;
    }
    const at = ({ x, median }: typeof first) =>
      `${formatValue(median, unit)} at ${formatXUnit(x ?? 0, axis?.unit ?? "")}`;
    return `${who}: ${at(first)}, ${at(last)}.`;
  });
  return [`${title}; ${better} is better.`, ...sentences].join(" ");
}
