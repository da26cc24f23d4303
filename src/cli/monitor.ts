/** `pcnk monitor`: what becomes of packets, as it happens. */
import { Command, Option } from "@commander-js/extra-typings";
import { lowerPriority } from "../linux/nice.ts";
import { nearest } from "../model/nearest.ts";
import { isIpv4 } from "../net/ipv4.ts";
import { type ReasonInfo, reasons } from "../bpf/reasons.ts";
import {
  isBad,
  listen,
  lockMonitor,
  type MonitorFilter,
  type Observation,
  packetReasons,
} from "../view/monitor.ts";
import { reasonHint } from "../view/hint.ts";
import { NodeReader } from "../view/node.ts";
import { formatEnd } from "../view/packet.ts";
import { type Paint, print, streamLook } from "../view/terminal.ts";
import { outputOption, placeOption, requireRoot } from "./options.ts";
import { untilSignal } from "./signals.ts";
import { checked, UsageError } from "./usage.ts";

interface MonitorOptions {
  reason?: ReasonInfo[];
  pod?: string;
  service?: string;
  flows?: true;
  oneIn: number;
  rate: number;
  count?: number;
  output: "line" | "json";
  bpffs: string;
  stateDir: string;
}

/** The `monitor` subcommand. */
export function command() {
  return new Command("monitor")
    .description(
      "Show packets that this node's programs drop or reject, with their reasons. The kernel filters; without a listener it " +
        "costs nothing. Needs root.",
    )
    .addOption(new Option("--flows", "Show every packet, not only dropped and rejected ones"))
    .addOption(
      new Option(
        "--reason <NAME,…>",
        "Only these reasons (see pcnk get counters --all) or kinds: drop, handled, pass",
      )
        .argParser(checked(reasonList)),
    )
    .addOption(
      new Option(
        "--pod <NAMESPACE/NAME>",
        "Only packets of this Pod of the node, or of this address",
      ),
    )
    .addOption(
      new Option("--service <NAMESPACE/NAME>", "Only packets of this Service and its backends"),
    )
    .addOption(
      new Option("--one-in <N>", "Sample one packet in N, at random").argParser(
        checked(positive),
      ).default(1),
    )
    .addOption(
      new Option("--rate <N>", "Show at most N packets a second, and count the rest").argParser(
        checked(positive),
      ).default(250),
    )
    .addOption(new Option("-c, --count <N>", "Stop after N packets").argParser(checked(positive)))
    .addOption(outputOption(["line", "json"]))
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText("after", help)
    .action((options) => untilSignal((signal) => monitor(options as MonitorOptions, signal)));
}

const help = `
A line has time, reason, device and flow. A translated packet is shown as it left, with its Service; a rejected one by its
reply. --service compares addresses: a backend of two Services is shown for both.

Examples:
  pcnk monitor                                  dropped and rejected packets
  pcnk monitor --service default/web --flows
  pcnk monitor --reason masqueraded --one-in 100 -o json
`;

async function monitor(options: MonitorOptions, signal: AbortSignal): Promise<void> {
  requireRoot("monitor");
  using node = new NodeReader(options);
  using _ = lockMonitor(options.stateDir);
  const { paint } = streamLook(Deno.stdout);
  const end = new AbortController();
  let left = options.count ?? Infinity;
  const text = (one: Observation) =>
    options.output === "json" ? JSON.stringify(plain(one)) : line(one, paint);
  const explained = new Set<string>();
  let shown = 0;
  lowerPriority(); // to the packets that are listened to
  const lost = await listen(node, filterOf(node, options), {
    seen(observations) {
      const some = observations.slice(0, left);
      left -= some.length;
      shown += some.length;
      let lines = ""; // one write for many: a write a packet would cost more than all else
      for (const one of some) {
        lines += `${text(one)}\n`;
        const hint = options.output === "line" ? explanation(node, one, explained) : undefined;
        if (hint === undefined) continue;
        print(lines);
        lines = "";
        console.error(`  → ${hint}`);
      }
      print(lines);
      if (left === 0) end.abort();
    },
    lost: (packets) => console.error(`pcnk: ${packets} packets more (--rate, --one-in)`),
  }, AbortSignal.any([signal, end.signal]));
  if (lost > 0 && left > 0) {
    console.error(`pcnk: ${shown} packets shown, ${lost} more were not: see --rate and --one-in`);
  }
}

/** Explanations in one run; after that a person has seen what there is. */
const EXPLAINED = 20;

/** Explains each reason once, and a rejection for each Service; on standard error, as it is no packet. */
function explanation(
  node: NodeReader,
  observation: Observation,
  explained: Set<string>,
): string | undefined {
  const { reason, flow } = observation;
  const refused = reason.name.startsWith("rejected_");
  const about = refused && flow !== undefined
    ? `${reason.name} ${flow.src}:${flow.sport}`
    : reason.name;
  // Before anything is read: there may be a hundred thousand packets a second.
  if (explained.size >= EXPLAINED || explained.has(about)) return undefined;
  explained.add(about);
  return reasonHint(node, observation);
}

function filterOf(
  node: NodeReader,
  { reason, pod, service, flows, oneIn, rate }: MonitorOptions,
): MonitorFilter {
  return {
    reasons: reason ?? (flows ? packetReasons : packetReasons.filter(isBad)),
    oneIn,
    perSecond: rate,
    pod: pod === undefined ? undefined : podAddress(node, pod),
    service: service === undefined || service.includes("/") ? service : `default/${service}`,
  };
}

function podAddress(node: NodeReader, text: string): string {
  const address = isIpv4(text) ? text : node.podAddress(text);
  if (address !== undefined) return address;
  throw new UsageError(`there is no pod ${text} on this node (pcnk get endpoints)`);
}

function reasonList(text: string): ReasonInfo[] {
  return text.split(",").flatMap((word) => {
    const name = word.trim().toLowerCase();
    const found = packetReasons.filter(({ name: own, kind }) => own === name || kind === name);
    if (found.length > 0) return found;
    const guess = nearest(name, reasons.map(({ name }) => name));
    throw new Error(`There is no reason ${name}${guess ? `; did you mean ${guess}?` : ""}`);
  });
}

function positive(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw new Error("It must be a whole number from 1 to 999999999");
  }
  return Number(text);
}

const plain = ({ reason, time, ...rest }: Observation) => ({
  time: new Date(time).toISOString(),
  reason: reason.name,
  kind: reason.kind,
  ...rest,
});

function line(
  { time, reason, device, flow, service, from, to, bytes }: Observation,
  paint: Paint,
): string {
  const style = reason.kind === "drop"
    ? "red"
    : reason.name.startsWith("rejected_")
    ? "yellow"
    : "green";
  const clock = new Date(time).toISOString().slice(11, 23);
  const named = (end: string, pod?: string) => pod ? `${end} (${pod})` : end;
  const ends = flow === undefined
    ? `${bytes} bytes`
    : `${flow.protocol} ${named(formatEnd(flow, flow.src, flow.sport), from)} → ` +
      `${named(formatEnd(flow, flow.dst, flow.dport), to)}${service ? ` for ${service}` : ""}`;
  return `${clock}  ${paint(style, reason.name.padEnd(22))}  ${device.padEnd(15)}  ${ends}`;
}
