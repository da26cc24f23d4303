/**
 * `deno task bench`: measures pcnk against what it is to be measured by, prints a table and writes
 * dist/bench/results.json. Needs root, gcc, the reference CNI plugins; iptables on nf_tables for the comparisons with it.
 *
 * Each figure is a ratio (or a difference) of values that were taken in turns in this one run, never a comparison
 * with figures of another day. Exit code 1: a measure failed; a bar that was missed is a result, not a failure.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { root } from "../../src/build/steps.ts";
import { untilSignal } from "../../src/cli/signals.ts";
import { columns } from "../../src/view/terminal.ts";
import { direct, host, nodePort, nodePortUdp, overlay, world } from "./between_nodes.ts";
import { cni } from "./cni.ts";
import { type Report, updatePage } from "./docs.ts";
import { firstPacket } from "./first_packet.ts";
import { install } from "./install.ts";
import { kubeAgent } from "./kube_agent.ts";
import { kubelet } from "./kubelet_add.ts";
import { buildLoad } from "./load.ts";
import { describeMachine } from "./machine.ts";
import { manyServices } from "./many_services.ts";
import type { Context, Measure } from "./measure.ts";
import { monitor } from "./monitor.ts";
import { reprogram } from "./reprogram.ts";
import { cells, HEAD, type Result, resultOf } from "./result.ts";
import { ROWS } from "./rows.ts";
import { agent, load, resync } from "./scale.ts";
import { sweepDead } from "./stage.ts";
import { start } from "./start.ts";
import { measureExecutable } from "./subject.ts";
import { bulk, connections, rr, udp } from "./traffic.ts";

const MEASURES: readonly Measure[] = [
  start,
  cni,
  rr,
  bulk,
  connections,
  udp,
  overlay,
  direct,
  nodePort,
  world,
  nodePortUdp,
  monitor,
  host,
  firstPacket,
  load,
  resync,
  manyServices,
  reprogram,
  kubeAgent,
  agent,
  install,
  kubelet,
];

const USAGE =
  `usage: deno task bench [--only NAME,…] [--runs N] [--quick] [--attach MODE] [--pcnk FILE] [--docs]

  --only NAME,…   these measures alone
  --runs N        rounds of each measure (default 20)
  --quick         6 short rounds: a first impression
  --attach MODE   auto, tcx or clsact: how pcnk's programs are put on devices (default clsact, as a CNI ADD does)
  --pcnk FILE     measure this executable instead of dist/pcnk
  --docs          write docs/benchmarks.md too: the rows of these measures

measures:
${MEASURES.map(({ name, about }) => `  ${name.padEnd(14)}${about}`).join("\n")}`;

class UsageError extends Error {}

function parse(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: "string" },
      runs: { type: "string" },
      quick: { type: "boolean", default: false },
      attach: { type: "string", default: "clsact" },
      pcnk: { type: "string" },
      docs: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const { attach, quick } = values;
  const runs = values.runs === undefined ? (quick ? 6 : 20) : Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new UsageError(`bad --runs ${values.runs}`);
  if (attach !== "auto" && attach !== "tcx" && attach !== "clsact") {
    throw new UsageError(`bad --attach ${attach}`);
  }
  const names = values.only?.split(",") ?? MEASURES.map(({ name }) => name);
  const measures = names.map((name) => {
    const found = MEASURES.find((measure) => measure.name === name);
    if (!found) throw new UsageError(`no measure ${name}`);
    return found;
  });
  const { only } = values;
  const settings = { runs, sliceMs: quick ? 100 : 250, attach, only } as const;
  return { ...values, measures, settings };
}

/** Runs the measures one by one; one that fails is reported and the others go on. */
async function runAll(measures: readonly Measure[], context: Omit<Context, "progress">) {
  const results: Result[] = [];
  for (const { name, run } of measures) {
    const progress = (text: string) => write(`\r\x1b[K${name} ${text}`);
    try {
      const found = await run({ ...context, progress });
      const rows = ROWS.filter(({ measure }) => measure === name);
      const taken = rows.map((row) => ({ row, result: resultOf(row, found) }));
      results.push(...taken.flatMap(({ result }) => result ?? []));
      const left = taken.filter(({ result }) => !result).map(({ row }) => row.title);
      if (left.length > 0) progress(`has no figure of: ${left.join("; ")}\n`);
    } catch (error) {
      context.signal.throwIfAborted();
      progress(`failed: ${(error as Error).message}\n`);
      process.exitCode = 1;
    }
  }
  write("\r\x1b[K");
  return results;
}

function write(text: string): void {
  const terminal = Deno.stderr.isTerminal();
  if (!terminal && !text.endsWith("\n")) return;
  // deno-lint-ignore no-control-regex -- what clears a line on a terminal
  const plain = text.replace(/\r\x1b\[K/g, "");
  Deno.stderr.writeSync(new TextEncoder().encode(terminal ? text : plain));
}

async function main(args: string[]): Promise<void> {
  const options = parse(args);
  if (options.help) return console.log(USAGE);
  if (options.pcnk !== undefined) measureExecutable(options.pcnk);
  const machine = describeMachine();
  buildLoad();
  await sweepDead();
  await untilSignal(async (signal) => {
    const results = await runAll(options.measures, { ...options.settings, signal });
    const report: Report = { machine, settings: options.settings, results };
    const folder = join(root, "dist/bench");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "results.json"), JSON.stringify(report, null, 2) + "\n");
    console.log(columns([HEAD, ...results.map(cells)]).join("\n"));
    if (machine.load > machine.processors / 2) {
      console.log(
        `\nThe machine was at work (load ${
          machine.load.toFixed(1)
        }): measure again when it is quiet.`,
      );
    }
    if (!options.docs) return;
    const page = join(root, "docs/benchmarks.md");
    writeFileSync(page, updatePage(readFileSync(page, "utf8"), report));
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const usage = error instanceof UsageError ||
    (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS");
  if (!usage) throw error;
  console.error(`bench: ${(error as Error).message}\n\n${USAGE}`);
  process.exitCode = 2;
}
