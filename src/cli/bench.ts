/** `pcnk bench`: how fast it is on this machine, and against what else there is. */
import { Argument, Command, Option } from "@commander-js/extra-typings";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { checkCount, checkLabName } from "../lab/plan.ts";
import { requireRoot } from "../lab/preflight.ts";
import { stderrProgress } from "../lab/progress.ts";
import { readBuild } from "../bpf/artifacts.ts";
import { labTestbed } from "../measure/lab_testbed.ts";
import { allLoads, type Load } from "../measure/loads.ts";
import { readReport, renderReport } from "../measure/render.ts";
import type { Report } from "../measure/report.ts";
import { makeReport, measureTestbed } from "../measure/run.ts";
import { type Contender, CONTENDERS, type Testbed } from "../measure/testbed.ts";
import { serveConnections, timeConnects } from "../measure/sockets.ts";
import { type LocalPod, POD_PORTS, podTestbed, servePod } from "../measure/pod_testbed.ts";
import { summarize } from "../measure/summary.ts";
import { reportRows } from "../measure/text.ts";
import { findTools, type Tool } from "../measure/tools.ts";
import { isIpv4, whyNotIpv4 } from "../net/ipv4.ts";
import { NodeReader } from "../view/node.ts";
import { columns } from "../view/terminal.ts";
import { placeOption } from "./options.ts";
import { untilSignal } from "./signals.ts";
import { checked, UsageError } from "./usage.ts";

/** As `--peers` takes them. */
const PEERS: Record<string, Contender> = {
  iptables: "kube-proxy iptables",
  nft: "nft",
  plain: "plain",
};

const PORTS = `${POD_PORTS.iperf3} and ${POD_PORTS.sockperf} (TCP, UDP), ${POD_PORTS.wrk} (TCP)`;

const EXAMPLES = `
Creates two nodes with two pods each of network namespaces, runs pcnk, plain bridge and VXLAN, and kube-proxy's rules on them
in turns, and removes them. Load tools are iperf3, sockperf and wrk; measures of a missing one are skipped.

Examples:
  pcnk bench --quick                          # two minutes
  pcnk bench --out report                     # all measures: report/report.md with pictures, report/report.json
  pcnk bench --only rr-tcp,connections --peers nft
  pcnk bench --redraw report/report.json --out again  # the same figures drawn again

Between real pods, on a node with pcnk; the load tools of the node are used:
  pcnk bench --from default/client --to default/server      # both of this node
  pcnk bench --at default/server                            # on the server's node, and then on the client's:
  pcnk bench --from default/client --to 10.244.2.7 --service 10.96.0.20
The Service needs the ports ${PORTS}.

Measures:
${allLoads().map(({ name, about }) => `  ${name.padEnd(18)}${about}`).join("\n")}
`;

/** The `bench` subcommand. */
export function command() {
  return new Command("bench")
    .description(
      "Measure bandwidth, latency, connections and scaling between pods, services and nodes, for pcnk and other networks. Needs root.",
    )
    .option("--only <NAMES>", "Run these measures only, separated by commas")
    .option(
      "--peers <NAMES>",
      "Contenders beside pcnk: iptables, nft, plain, or none",
      "iptables,nft,plain",
    )
    .addOption(
      countOption("--runs <N>", "Repeat each measure N times, 1 to 100 (default: 5)", 1, 100),
    )
    .addOption(countOption("--seconds <N>", "Seconds of each run, 1 to 60", 1, 60).default(1))
    .addOption(
      countOption("--services <N>", "Scale to N Services, 10 to 10000", 10, 10_000),
    )
    .option("--quick", "Run twice, up to 1,000 Services, and fewer measures", false)
    .option("--out <DIR>", "Write report.md, its pictures and report.json to DIR")
    .option("--json <FILE>", "Write the figures to FILE; - is standard output")
    .option("--redraw <FILE>", "Draw a report from an earlier FILE, without measuring")
    .option(
      "--from <POD>",
      "Measure real pods: run the client in this Pod of this node, NAMESPACE/NAME",
    )
    .option("--to <POD>", "Pod of this node, or address of the Pod of `--at`, to measure to")
    .option("--service <ADDRESS>", "Measure through this Service too")
    .option("--at <POD>", "Run only the servers, in this Pod of this node, until Ctrl-C")
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addOption(
      new Option("--name <NAME>", "Name of the lab")
        .argParser(checked((text) => checkLabName(text, "It"))).default("bench").hideHelp(),
    )
    .addHelpText("after", EXAMPLES)
    .action(async (options) => {
      if (options.redraw !== undefined) return output(readReport(options.redraw), options);
      requireRoot();
      checkPods(options);
      checkOutputs(options);
      await (options.at === undefined ? bench(options) : serveIn(options.at, options));
    })
    .addCommand(serveCommand(), { hidden: true })
    .addCommand(connectCommand(), { hidden: true });
}

interface Options {
  only?: string;
  peers: string;
  runs?: number;
  seconds: number;
  services?: number;
  quick: boolean;
  out?: string;
  json?: string;
  name: string;
  from?: string;
  to?: string;
  service?: string;
  at?: string;
  bpffs: string;
  stateDir: string;
}

/** Those of `--quick`. */
const QUICK = ["tcp", "rr-tcp", "connections", "first-packet", "services-connect"];

async function bench(options: Options): Promise<void> {
  const loads = chosenLoads(options);
  const contenders = chosenContenders(options.peers);
  await untilSignal(async (signal) => {
    let report: Report | undefined;
    try {
      await stderrProgress().step("bench", async (step) => {
        await using cleanup = new AsyncDisposableStack();
        const progress = (text: string) => step.update(text);
        const testbed = options.from === undefined
          ? await labTestbed(cleanup, { name: options.name, contenders, signal, progress })
          : betweenPods(options.from, options);
        const runs = options.runs ?? (options.quick ? 2 : 5);
        const settings = { loads, runs, seconds: options.seconds, signal, progress };
        report = makeReport(version(), testbed, await measureTestbed(testbed, settings), settings);
        progress("taking it down");
      }, () => "measured");
    } finally {
      // What was measured is not lost when it was stopped, or when the clean-up fails.
      if (report && report.measures.length > 0) output(report, options);
    }
    signal.throwIfAborted();
  });
}

function version(): string {
  const { version, commit } = readBuild();
  return `${version} (${commit.slice(0, 12)})`;
}

/** @throws {UsageError} for options that belong together and do not come together */
function checkPods({ from, to, service, at }: Options): void {
  if ((from === undefined) !== (to === undefined)) {
    throw new UsageError("--from and --to belong together: a client's pod and a server's");
  }
  if (from === undefined && service !== undefined) {
    throw new UsageError("--service needs --from and --to");
  }
  if (at !== undefined && from !== undefined) {
    throw new UsageError("--at runs servers only, and --from a client: give one of them");
  }
  for (const [flag, value] of [["--to", isAddress(to) ? to : undefined], ["--service", service]]) {
    if (value !== undefined && !isIpv4(value)) {
      throw new UsageError(
        `${flag} ${JSON.stringify(value)} is not an IPv4 address: ${whyNotIpv4(value)}`,
      );
    }
  }
}

const isAddress = (text: string | undefined) => text !== undefined && !text.includes("/");

function betweenPods(from: string, { to, service, ...place }: Options): Testbed {
  using node = new NodeReader(place);
  return podTestbed({
    from: findPod(node, from),
    to: isAddress(to) ? to! : findPod(node, to!),
    service,
  });
}

/** @throws {Error} that names the pods there are */
function findPod({ pods }: NodeReader, name: string): LocalPod {
  for (const [address, { pod, netns }] of pods) if (pod === name) return { pod, address, netns };
  const names = [...pods.values()].map(({ pod }) => pod).filter(Boolean).sort();
  const there = names.length === 0 ? "there is none" : names.slice(0, 10).join(", ");
  throw new Error(`no pod ${JSON.stringify(name)} on this node; pods of it: ${there}`);
}

/** Servers until a signal comes. */
async function serveIn(name: string, place: Options): Promise<void> {
  const pod = findPodAt(place, name);
  await untilSignal(async (signal) => {
    const tools = Object.keys(findTools()) as Tool[];
    await using _servers = await servePod(pod, tools, signal);
    console.log(
      `serving in ${pod.pod}; on the client's node: pcnk bench --from NAMESPACE/POD --to ${pod.address}`,
    );
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  });
}

function findPodAt(place: Options, name: string): LocalPod {
  using node = new NodeReader(place);
  return findPod(node, name);
}

/** @throws {UsageError} for a measure that there is not */
function chosenLoads({ only, quick, services }: Options): Load[] {
  const all = allLoads(services ?? (quick ? 1000 : 10_000));
  const names = only?.split(",") ?? (quick ? QUICK : all.map(({ name }) => name));
  return names.map((name) => {
    const found = all.find((load) => load.name === name);
    if (!found) {
      throw new UsageError(
        `there is no measure ${JSON.stringify(name)}; there are ${
          all.map(({ name }) => name).join(", ")
        }`,
      );
    }
    return found;
  });
}

/** @throws {UsageError} for a peer that there is not */
function chosenContenders(peers: string): Contender[] {
  const names = peers === "none" ? [] : peers.split(",");
  const wanted = names.map((name) => {
    const contender = Object.hasOwn(PEERS, name) ? PEERS[name] : undefined;
    if (!contender) {
      throw new UsageError(
        `there is no peer ${JSON.stringify(name)}; there are iptables, nft, plain, or none`,
      );
    }
    return contender;
  });
  return CONTENDERS.filter((contender) => contender === "pcnk" || wanted.includes(contender));
}

function output(report: Report, { out, json }: Pick<Options, "out" | "json">): void {
  const text = JSON.stringify(report, null, 2) + "\n";
  if (json === "-") return console.log(text.trimEnd());
  if (json !== undefined) save(json, text);
  console.log(columns(reportRows(report)).join("\n"));
  for (const note of report.notes) console.log(`note: ${note}`);
  if (out === undefined) return;
  save(join(out, "report.json"), text);
  const files = renderReport(report, out);
  console.error(`wrote ${join(out, "report.json")}, ${files[0]} and ${files.length - 1} pictures`);
}

/**
 * Before anything is measured: hours of work are not to be lost for a slip.
 * @throws {UsageError} when a file cannot be written where it is wanted
 */
function checkOutputs({ out, json }: Pick<Options, "out" | "json">): void {
  if (out !== undefined && existsSync(out) && !statSync(out).isDirectory()) {
    throw new UsageError(`--out ${out} is no directory`);
  }
  if (json === undefined || json === "-") return;
  if (existsSync(json) && statSync(json).isDirectory()) {
    throw new UsageError(`--json ${json} is a directory`);
  }
  if (!existsSync(dirname(json))) {
    throw new UsageError(`--json ${json}: there is no directory ${dirname(json)}`);
  }
}

function save(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function countOption<F extends string>(flags: F, about: string, low: number, high: number) {
  return new Option(flags, about).argParser(checked((text) => checkCount("It", text, low, high)));
}

/** The server that wrk and `connect` ask; ends by a signal. */
function serveCommand() {
  return new Command("serve").addArgument(portArgument()).action((port) => serveConnections(port));
}

/** Prints the median of so many connects, in seconds. */
function connectCommand() {
  return new Command("connect").argument("<address>").addArgument(portArgument())
    .addArgument(new Argument("<count>").argParser((text) => checkCount("count", text, 1, 100_000)))
    .action((address, port, count) => {
      process.stdout.write(`${summarize(timeConnects(address, port, count))!.median}\n`);
    });
}

function portArgument() {
  return new Argument("<port>").argParser((text) => checkCount("port", text, 1, 65_535));
}
