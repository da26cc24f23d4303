/** `pcnk get`: what the kernel's maps hold, in kubectl's habits. */
import { Argument, Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import process from "node:process";
import { cells, columnsOf, type Format, formatRows, FORMATS } from "../view/format.ts";
import { NodeReader } from "../view/node.ts";
import { hintOf, isKnown } from "../view/hint.ts";
import { findResource, resources } from "../view/resources.ts";
import type { Filter, Resource } from "../view/resource.ts";
import { pause } from "../view/monitor.ts";
import { columns, print, streamLook } from "../view/terminal.ts";
import { RowWatch } from "../view/watch.ts";
import { nearest } from "../model/nearest.ts";
import { outputOption, placeOption, requireRoot } from "./options.ts";
import { untilSignal } from "./signals.ts";

interface GetOptions {
  namespace?: string;
  service?: string;
  pod?: string;
  all?: true;
  output: Format;
  watch?: true;
  interval: number;
  headers: boolean;
  bpffs: string;
  stateDir: string;
}

/** The `get` subcommand. */
export function command() {
  return new Command("get")
    .description(
      "List entries of this node's maps. Works without a running agent. Needs root.",
    )
    .addArgument(new Argument("<what>", kinds()).argParser(kind))
    .argument(
      "[names...]",
      "Only entries with these names, e.g. NAME or NAMESPACE/NAME of a Service",
    )
    .addOption(new Option("-n, --namespace <NAMESPACE>", "Only entries of this namespace"))
    .addOption(new Option("--service <NAMESPACE/NAME>", "Only entries of this Service"))
    .addOption(
      new Option(
        "--pod <NAMESPACE/NAME>",
        "Only entries of this Pod, or of the Pod with this address",
      ),
    )
    .addOption(new Option("-a, --all", "Include expired sessions and counters at zero"))
    .addOption(outputOption(FORMATS))
    .addOption(new Option("-w, --watch", "Watch for changes"))
    .addOption(
      new Option("--interval <SECONDS>", "Seconds between updates with --watch").argParser(seconds)
        .default(
          1,
        ),
    )
    .addOption(new Option("--no-headers", "Print no header line"))
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText("after", examples)
    .action((resource, names, options) => {
      const filter: Filter = { ...options, names };
      const given = options as GetOptions;
      if (!given.watch) return show(resource, filter, given);
      return untilSignal((signal) => watch(resource, filter, given, signal));
    });
}

const examples = `
Kinds:
${resources.map(({ name, help }) => `  ${name.padEnd(10)} ${help}`).join("\n")}

Examples:
  pcnk get services                           addresses, ports and number of backends
  pcnk get backends web -n default            backends of default/web
  pcnk get sessions --pod default/curl -o wide
  pcnk get counters -w                        counters as they change
  pcnk get nodes -o json
`;

function kinds(): string {
  return resources.map(({ name }) => name).join(", ");
}

function kind(text: string): Resource {
  const found = findResource(text);
  if (found !== undefined) return found;
  const guess = nearest(text, resources.map(({ name }) => name));
  throw new InvalidArgumentError(
    guess ? `Did you mean ${guess}?` : `It must be one of ${kinds()}.`,
  );
}

function seconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(value >= 0.1 && value <= 3600)) throw new InvalidArgumentError("It must be 0.1 to 3600.");
  return value;
}

function open({ bpffs, stateDir }: GetOptions): NodeReader {
  requireRoot("get");
  return new NodeReader({ bpffs, stateDir });
}

function read(resource: Resource, filter: Filter, options: GetOptions) {
  using node = open(options);
  return resource.read(node, filter);
}

function show(resource: Resource, filter: Filter, options: GetOptions): void {
  using node = open(options);
  const rows = resource.read(node, filter);
  const { paint } = streamLook(Deno.stdout);
  const text = formatRows(resource, rows, options.output, paint);
  const isTable = options.output === "table" || options.output === "wide";
  if (rows.length > 0 || !isTable) {
    print(isTable && !options.headers ? text.slice(text.indexOf("\n") + 1) : text);
  }
  const hint = isTable ? hintOf(node, resource, rows, filter) : undefined;
  if (hint !== undefined) console.error(hint);
  // As kubectl: what is asked for by its name is not there.
  if (rows.length === 0 && !isKnown(node, resource, filter)) process.exitCode = 1;
}

/** Prints what came, changed and went, until the signal. */
async function watch(resource: Resource, filter: Filter, options: GetOptions, signal: AbortSignal) {
  const seen = new RowWatch();
  const shown = columnsOf(resource, options.output === "wide");
  let widths: string[][] = options.headers ? [["EVENT", ...shown.map(({ title }) => title)]] : [];
  while (!signal.aborted) {
    const events = seen.update(read(resource, filter, options));
    if (options.output === "json") {
      print(events.map((event) => JSON.stringify(event) + "\n").join(""));
    } else if (events.length > 0) {
      const lines = events.map(({ type, row }) => [type, ...cells(row, shown)]);
      print(columns([...widths, ...lines]).map((line) => line + "\n").join(""));
      widths = [];
    }
    await pause(options.interval * 1000, signal);
  }
}
