/** A saved report into a folder: report.md and its pictures. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { markdownReport } from "./markdown.ts";
import { plots } from "./plot/plots.ts";
import type { Report } from "./report.ts";

/**
 * Reads a report from a file of `pcnk bench`.
 * @throws {Error} that names the file, when it cannot be read or is something else
 */
export function readReport(file: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") throw new Error(`${file} is not there`);
    throw new Error(`${file}: ${(error as Error).message}`);
  }
  const wrong = flaw(value);
  if (wrong) throw new Error(`${file} is no report of pcnk bench: ${wrong}`);
  return value as Report;
}

/** What is wrong with the parts that a report is drawn from; undefined: nothing. */
export function flaw(value: unknown): string | undefined {
  const report = value as Partial<Report> | null;
  if (report?.format !== "pcnk-bench/1") return 'its "format" is not "pcnk-bench/1"';
  if (!Array.isArray(report.notes)) return '"notes" is no list';
  if (!Array.isArray(report.measures)) return '"measures" is no list';
  for (const [i, measure] of report.measures.entries()) {
    const at = `measures[${i}]`;
    if (typeof measure?.id !== "string" || typeof measure.title !== "string") {
      return `${at} has no id or no title`;
    }
    if (!["bars", "time", "curve"].includes(measure.plot)) return `${at}.plot is not known`;
    if (!["higher", "lower"].includes(measure.better)) return `${at}.better is not known`;
    if (!Array.isArray(measure.lines)) return `${at}.lines is no list`;
    const broken = measure.lines.findIndex((line) =>
      typeof line?.contender !== "string" || typeof line.path !== "string" ||
      !Array.isArray(line.points) || line.points.some((point) => !Array.isArray(point?.samples))
    );
    if (broken >= 0) return `${at}.lines[${broken}] has no contender, path or points`;
  }
  return undefined;
}

/** Writes report.md and an SVG for each measure; returns their paths. */
export function renderReport(report: Report, folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  const pictures = plots(report);
  const files = [
    { name: "report.md", content: markdownReport(report, pictures) },
    ...pictures.map(({ name, svg }) => ({ name, content: svg })),
  ];
  return files.map(({ name, content }) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  });
}
