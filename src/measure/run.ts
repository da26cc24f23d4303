/** Runs loads at a testbed, contenders in turns, and collects what comes out: the report. */
import { loadavg } from "node:os";
import { type Figure, type Load, pinned, serverCommand } from "./loads.ts";
import { describeMachine } from "./machine.ts";
import type { Line, Measure, Report } from "./report.ts";
import { serveAt } from "./placement.ts";
import {
  type Contender,
  CONTENDERS,
  type Path,
  PATHS,
  type Target,
  type Testbed,
} from "./testbed.ts";
import { congestion, findTools, missingTools, type Tool } from "./tools.ts";

interface RunOptions {
  loads: readonly Load[];
  runs: number;
  /** Duration of one run, whole seconds. */
  seconds: number;
  signal: AbortSignal;
  progress(text: string): void;
}

/** What was measured until the signal was aborted, at the latest. */
export async function measureTestbed(testbed: Testbed, options: RunOptions): Promise<Measure[]> {
  const tools = findTools();
  const measures: Measure[] = [];
  for (const load of options.loads.filter(({ tool }) => tool in tools)) {
    const mine = load.measures.map((head): Measure => ({
      ...head,
      tool: toolName(load.tool, tools),
      lines: [],
    }));
    try {
      await measureLoad(testbed, load, mine, options);
    } catch (error) {
      if (!options.signal.aborted) failAll(mine, testbed, load, error as Error);
    }
    measures.push(...mine.filter(({ lines }) => lines.length > 0).map(inOrder));
    if (options.signal.aborted) break;
  }
  return measures;
}

/** Reports a load that cannot start; the others run. */
function failAll(measures: Measure[], testbed: Testbed, { paths }: Load, { message }: Error): void {
  for (const { lines } of measures) {
    for (const contender of testbed.contenders) {
      const path = paths.find((path) => testbed.paths(contender).includes(path));
      const line = lines.find((line) => line.contender === contender);
      if (line) line.failed ??= message;
      else if (path) lines.push({ contender, path, points: [], failed: message });
    }
  }
}

/** Lines by path, then contender, whatever turn they came in. */
function inOrder(measure: Measure): Measure {
  const rank = ({ path, contender }: Line) =>
    PATHS.indexOf(path as Path) * CONTENDERS.length + CONTENDERS.indexOf(contender as Contender);
  return { ...measure, lines: measure.lines.toSorted((a, b) => rank(a) - rank(b)) };
}

function toolName(tool: Tool, versions: Partial<Record<Tool, string>>): string {
  return tool === "pcnk" ? "pcnk's own client" : `${tool} ${versions[tool]}`;
}

async function measureLoad(
  testbed: Testbed,
  load: Load,
  measures: Measure[],
  options: RunOptions,
): Promise<void> {
  const work = () =>
    withServers(testbed, load, options, () => inTurns(testbed, load, measures, options));
  if (load.mtu === undefined) return await work();
  // A testbed whose MTU cannot be changed is measured as it is.
  await (testbed.withMtu ? testbed.withMtu(load.mtu, work) : work());
}

/** A server for each path; several paths may end at the same. */
async function withServers(
  testbed: Testbed,
  { tool, protocol, paths }: Load,
  { signal }: RunOptions,
  work: () => Promise<void>,
): Promise<void> {
  await using servers = new AsyncDisposableStack();
  const port = testbed.port(tool);
  const command = serverCommand(tool, protocol, port);
  const there = new Set<string>();
  const used = new Set(testbed.contenders.flatMap((contender) => testbed.paths(contender)));
  for (const path of paths.filter((path) => used.has(path))) {
    const where = testbed.server(path);
    if (!where || there.has(where.netnsPath)) continue;
    there.add(where.netnsPath);
    servers.use(await serveAt(pinned(tool, where), command, { port, protocol, signal }));
  }
  await work();
}

/** `names` in the order of round `round`: begun at another one each time, and every other cycle backwards. */
export function turned<T>(names: readonly T[], round: number): T[] {
  const start = round % names.length;
  const list = [...names.slice(start), ...names.slice(0, start)];
  return Math.floor(round / names.length) % 2 === 0 ? list : list.reverse();
}

/** Round by round, every contender once a round; the order turns, so that none is always first. */
async function inTurns(
  testbed: Testbed,
  load: Load,
  measures: Measure[],
  options: RunOptions,
): Promise<void> {
  const rounds = Math.min(options.runs, load.rounds ?? options.runs);
  for (let round = 0; round < rounds; round++) {
    for (const contender of turned(testbed.contenders, round)) {
      for (const path of load.paths.filter((path) => testbed.paths(contender).includes(path))) {
        options.progress(`${load.name} ${round + 1}/${rounds}: ${path}, ${contender}`);
        await measurePath(testbed, load, measures, contender, path, options);
      }
    }
  }
}

async function measurePath(
  testbed: Testbed,
  load: Load,
  measures: Measure[],
  contender: Contender,
  path: Path,
  { signal, seconds, runs }: RunOptions,
): Promise<void> {
  const client = pinned(load.tool, testbed.client(path));
  const line = lineOf(measures, contender, path);
  const once = async (target: Target, x?: number) =>
    line.add(await load.run({ signal, seconds }, client, target, x));
  for (const x of load.xs ?? [undefined]) {
    signal.throwIfAborted();
    try {
      if (load.vary === "services") {
        await testbed.withServices?.(x!, contender, async (target) => {
          for (let run = 0; run < runs; run++) await once(target, x);
        });
      } else {
        testbed.carry(contender);
        await once(testbed.target(path, testbed.port(load.tool)), x);
      }
    } catch (error) {
      signal.throwIfAborted();
      line.fail(x, error as Error);
    }
  }
}

/** The lines of one contender and path, made when their first figure comes. */
function lineOf(measures: Measure[], contender: Contender, path: Path) {
  const find = (measure: Measure): Line => {
    const found = measure.lines.find((line) => line.contender === contender && line.path === path);
    if (found) return found;
    const line: Line = { contender, path, points: [] };
    measure.lines.push(line);
    return line;
  };
  return {
    add(figures: readonly Figure[]) {
      for (const { measure, x, value } of figures) {
        const { points } = find(measures.find(({ id }) => id === measure)!);
        const point = points.find((each) => each.x === x);
        if (point) point.samples.push(value);
        else points.push(x === undefined ? { samples: [value] } : { x, samples: [value] });
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
  testbed: Testbed,
  measures: Measure[],
  { runs, seconds, signal }: RunOptions,
): Report {
  const missing = missingTools(findTools());
  return {
    format: "pcnk-bench/1",
    pcnk,
    taken: new Date().toISOString(),
    machine: { ...describeMachine(), "load at the end": Math.round(loadavg()[0]! * 100) / 100 },
    options: { runs, seconds },
    measures,
    notes: [
      ...testbed.notes,
      ...(measures.some(({ id }) => id.startsWith("tcp")) ? [congestion().note] : []),
      ...(missing === undefined ? [] : [missing]),
      ...(signal.aborted
        ? ["stopped before its end: what is here is what was measured until then"]
        : []),
    ],
  };
}
