/** Runs loads at a site, sides in turns, and collects what comes out: the report. */
import { arch, cpus, loadavg, totalmem } from "node:os";
import { congestion } from "./congestion.ts";
import { type Figure, type Load, placed, serverCommand } from "./loads.ts";
import type { Line, Machine, Measure, Report } from "./report.ts";
import { serveAt } from "./run_at.ts";
import { type Path, PATHS, type Side, SIDES, type Site, type Target } from "./site.ts";
import { turned } from "./turns.ts";
import { findTools, missingTools, type Tool } from "./tools.ts";

export interface RunOptions {
  loads: readonly Load[];
  runs: number;
  /** Duration of one run, whole seconds. */
  seconds: number;
  signal: AbortSignal;
  progress(text: string): void;
}

/** What was measured until the signal was aborted, at the latest. */
export async function measureSite(site: Site, options: RunOptions): Promise<Measure[]> {
  const tools = findTools();
  const measures: Measure[] = [];
  for (const load of options.loads.filter(({ tool }) => tool in tools)) {
    const mine = load.measures.map((head): Measure => ({
      ...head,
      tool: toolName(load.tool, tools),
      lines: [],
    }));
    try {
      await measureLoad(site, load, mine, options);
    } catch (error) {
      if (!options.signal.aborted) failAll(mine, site, load, error as Error);
    }
    measures.push(...mine.filter(({ lines }) => lines.length > 0).map(inOrder));
    if (options.signal.aborted) break;
  }
  return measures;
}

/** What could not even begin is in the report, and the others go on. */
function failAll(measures: Measure[], site: Site, { paths }: Load, { message }: Error): void {
  for (const { lines } of measures) {
    for (const side of site.sides) {
      const path = paths.find((path) => site.paths(side).includes(path));
      const line = lines.find((line) => line.side === side);
      if (line) line.failed ??= message;
      else if (path) lines.push({ side, path, points: [], failed: message });
    }
  }
}

/** Lines by path, then side, whatever turn they came in. */
function inOrder(measure: Measure): Measure {
  const rank = ({ path, side }: Line) =>
    PATHS.indexOf(path as Path) * SIDES.length + SIDES.indexOf(side as Side);
  return { ...measure, lines: measure.lines.toSorted((a, b) => rank(a) - rank(b)) };
}

function toolName(tool: Tool, versions: Partial<Record<Tool, string>>): string {
  return tool === "pcnk" ? "pcnk's own client" : `${tool} ${versions[tool]}`;
}

async function measureLoad(
  site: Site,
  load: Load,
  measures: Measure[],
  options: RunOptions,
): Promise<void> {
  const work = () => withServers(site, load, options, () => inTurns(site, load, measures, options));
  if (load.mtu === undefined) return await work();
  // A place whose MTU is not ours to change is measured as it is.
  await (site.withMtu ? site.withMtu(load.mtu, work) : work());
}

/** A server for each path; several paths may end at the same. */
async function withServers(
  site: Site,
  { tool, protocol, paths }: Load,
  { signal }: RunOptions,
  work: () => Promise<void>,
): Promise<void> {
  await using servers = new AsyncDisposableStack();
  const port = site.port(tool);
  const command = serverCommand(tool, protocol, port);
  const there = new Set<string>();
  const used = new Set(site.sides.flatMap((side) => site.paths(side)));
  for (const path of paths.filter((path) => used.has(path))) {
    const where = site.server(path);
    if (!where || there.has(where.netnsPath)) continue;
    there.add(where.netnsPath);
    servers.use(await serveAt(placed(tool, where), command, { port, protocol, signal }));
  }
  await work();
}

/** Round by round, every side once a round; the order turns, so that none is always first. */
async function inTurns(
  site: Site,
  load: Load,
  measures: Measure[],
  options: RunOptions,
): Promise<void> {
  const rounds = Math.min(options.runs, load.rounds ?? options.runs);
  for (let round = 0; round < rounds; round++) {
    for (const side of turned(site.sides, round)) {
      for (const path of load.paths.filter((path) => site.paths(side).includes(path))) {
        options.progress(`${load.name} ${round + 1}/${rounds}: ${path}, ${side}`);
        await measurePath(site, load, measures, side, path, options);
      }
    }
  }
}

async function measurePath(
  site: Site,
  load: Load,
  measures: Measure[],
  side: Side,
  path: Path,
  { signal, seconds, runs }: RunOptions,
): Promise<void> {
  const client = placed(load.tool, site.client(path));
  const line = lineOf(measures, side, path);
  const once = async (target: Target, x?: number) =>
    line.add(await load.run({ signal, seconds }, client, target, x));
  for (const x of load.xs ?? [undefined]) {
    signal.throwIfAborted();
    try {
      if (load.vary === "services") {
        await site.withServices?.(x!, side, async (target) => {
          for (let run = 0; run < runs; run++) await once(target, x);
        });
      } else {
        site.carry(side);
        await once(site.target(path, site.port(load.tool)), x);
      }
    } catch (error) {
      signal.throwIfAborted();
      line.fail(x, error as Error);
    }
  }
}

/** The lines of one side and path, made when their first figure comes. */
function lineOf(measures: Measure[], side: Side, path: Path) {
  const find = (measure: Measure): Line => {
    const found = measure.lines.find((line) => line.side === side && line.path === path);
    if (found) return found;
    const line: Line = { side, path, points: [] };
    measure.lines.push(line);
    return line;
  };
  return {
    add(figures: readonly Figure[]) {
      for (const { measure, x, value } of figures) {
        const { points } = find(measures.find(({ id }) => id === measure)!);
        const point = points.find((each) => each.x === x);
        if (point) point.samples.push(value);
        else points.push({ ...(x !== undefined && { x }), samples: [value] });
      }
    },
    fail(x: number | undefined, { message }: Error) {
      for (const measure of measures) {
        find(measure).failed = x === undefined ? message : `at ${x}: ${message}`;
      }
    },
  };
}

/** Everything together, as it is written to a file. */
export function makeReport(
  pcnk: string,
  site: Site,
  measures: Measure[],
  { runs, seconds, signal }: RunOptions,
): Report {
  const missing = missingTools(findTools());
  return {
    format: "pcnk-bench/1",
    pcnk,
    taken: new Date().toISOString(),
    machine: describeMachine(),
    options: { runs, seconds },
    measures,
    notes: [
      ...site.notes,
      ...(measures.some(({ id }) => id.startsWith("tcp")) ? [congestion().note] : []),
      ...(missing === undefined ? [] : [missing]),
      ...(signal.aborted
        ? ["stopped before its end: what is here is what was measured until then"]
        : []),
    ],
  };
}

function describeMachine(): Machine {
  return {
    processor: cpus()[0]?.model ?? "unknown",
    processors: cpus().length,
    architecture: arch(),
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: Deno.osRelease(),
    system: systemName(),
    "load at the end": Math.round(loadavg()[0]! * 100) / 100,
  };
}

function systemName(): string {
  try {
    const text = Deno.readTextFileSync("/etc/os-release");
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}
