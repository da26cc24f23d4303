/** The pictures of a report: one SVG file a measure, each standing alone. */
import type { Report } from "../report.ts";
import { bars } from "./bars.ts";
import { series } from "./series.ts";
import { looks } from "./looks.ts";

/** A picture's file name, without folder, and its content. */
interface Picture {
  /** The measure's id. */
  id: string;
  name: string;
  svg: string;
}

/** Bars, or lines over time or over a size, as each measure asks for. */
export function plots(report: Report): Picture[] {
  const contenders = looks(
    report.measures.flatMap(({ lines }) => lines.map(({ contender }) => contender)),
  );
  const taken = new Set<string>();
  return report.measures.map((measure) => ({
    id: measure.id,
    name: `${unique(fileName(measure.id), taken)}.svg`,
    svg: measure.plot === "bars" ? bars(measure, contenders) : series(measure, contenders),
  }));
}

/** Letters, digits and dashes: a name that is one file, everywhere. */
function fileName(id: string): string {
  return id.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 80) ||
    "measure";
}

function unique(name: string, taken: Set<string>): string {
  let free = name;
  for (let i = 2; taken.has(free); i++) free = `${name}-${i}`;
  taken.add(free);
  return free;
}
