/** `pcnk trace`: what would happen to a packet. */
import { Command, Option } from "@commander-js/extra-typings";
import process from "node:process";
import { nearest } from "../model/nearest.ts";
import { AddressError } from "../net/error.ts";
import { splitHostPort } from "../net/host_port.ts";
import { isIpv4 } from "../net/ipv4.ts";
import { NodeReader } from "../view/node.ts";
import { type Flow, formatEnd } from "../view/packet.ts";
import { columns, conclusion, type Paint, streamLook, terminalWidth } from "../view/terminal.ts";
import { findService, type Trace, trace } from "../view/trace.ts";
import { readServices } from "../view/services.ts";
import { exitCodes } from "./exit_codes.ts";
import { outputOption, placeOption, requireRoot } from "./options.ts";
import { checked, UsageError } from "./usage.ts";

/** The `trace` subcommand. */
export function command() {
  const command = new Command("trace")
    .description(
      "Run the first packet of a flow through copies of this node's programs and maps, and show each hop. Sends nothing, changes nothing. Needs root.",
    )
    .argument(
      "<src>",
      "Pod of this node (NAMESPACE/NAME or address), or an address outside whose packet enters by the uplink",
    )
    .argument("<dst>", "ADDRESS, ADDRESS:PORT, or a Service as NAMESPACE/NAME[:PORT[/udp]]")
    .addOption(
      new Option("-p, --protocol <NAME>", "Trace a packet of this protocol").choices(
        ["tcp", "udp", "icmp"] as const,
      ),
    )
    .addOption(
      new Option("--source-port <PORT>", "Source port; for ICMP the identifier").argParser(
        checked(port),
      ).default(40000),
    )
    .addOption(outputOption(["table", "json"]))
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText("after", help)
    .action((src, dst, { protocol, sourcePort, output, bpffs, stateDir }) => {
      requireRoot("trace", "runs eBPF programs");
      using node = new NodeReader({ bpffs, stateDir });
      const flow = flowOf(node, { src, dst, protocol, sourcePort });
      const found = trace(node, flow);
      if (output === "json") console.log(JSON.stringify(found, null, 2));
      else console.log(renderTrace(found, streamLook(Deno.stdout).paint, terminalWidth()));
      process.exitCode = ["rejected", "dropped"].includes(found.outcome) ? 1 : 0;
    });
  return exitCodes(
    command,
    "0 delivered or sent by this node, 1 rejected or dropped",
  );
}

const help = `
A random backend may differ next time. To see what another node does with the packet, run pcnk trace there.

Examples:
  pcnk trace default/curl default/web         from a Pod to a Service
  pcnk trace 10.244.1.2 10.96.0.10:53 -p udp
  pcnk trace 203.0.113.7 192.168.50.11:30080  from outside to a NodePort of this node
`;

function port(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > 65535) throw new Error("It must be a port, 1 to 65535");
  return value;
}

interface Call {
  src: string;
  dst: string;
  protocol?: "tcp" | "udp" | "icmp" | undefined;
  sourcePort: number;
}

function flowOf(node: NodeReader, { src, dst, protocol, sourcePort }: Call): Flow {
  const given = protocol?.toUpperCase() as Flow["protocol"] | undefined;
  const from = sourceOf(node, src);
  const outside = node.maps.endpoints.get({ addr: from }) === undefined;
  const literal = literalOf(dst);
  if (literal !== undefined) {
    const { address, port } = literal;
    const chosen = given ?? (port === undefined ? "ICMP" : "TCP");
    if (chosen !== "ICMP" && port === undefined) {
      throw new UsageError(`${dst} needs a port for ${chosen}: ${dst}:80`);
    }
    const dport = chosen === "ICMP" ? 0 : port!;
    return { protocol: chosen, src: from, dst: address, sport: sourcePort, dport };
  }
  const service = findService(node, dst, outside);
  if (service === undefined) {
    const names = readServices(node, { names: [] }).map(({ name }) => name);
    const wanted = dst.includes("/") ? dst : `default/${dst}`;
    throw new UsageError(
      `${dst} is neither an address nor a Service of this node's maps (${
        meantOr("pcnk get services", wanted, names)
      })`,
    );
  }
  const { address: to, port: dport, protocol: own } = service;
  const chosen = given ?? own;
  return {
    protocol: chosen,
    src: from,
    dst: to,
    sport: sourcePort,
    dport: chosen === "ICMP" ? 0 : dport,
  };
}

/** An IPv4 address, with or without a port; undefined for the name of a Service. */
function literalOf(text: string): { address: string; port?: number } | undefined {
  if (isIpv4(text)) return { address: text };
  if (!isIpv4(text.slice(0, text.lastIndexOf(":")))) return undefined;
  try {
    return splitHostPort(text);
  } catch (error) {
    throw error instanceof AddressError ? new UsageError(error.message) : error;
  }
}

/** The address of a pod by its name, or the address itself. */
function sourceOf(node: NodeReader, text: string): string {
  if (isIpv4(text)) return checkAddress(node, text);
  const address = node.podAddress(text);
  if (address !== undefined) return address;
  const wanted = text.includes("/") ? text : `default/${text}`;
  const names = [...node.pods.values()].map(({ pod }) => pod ?? "");
  throw new UsageError(
    `there is no pod ${wanted} on this node (${meantOr("pcnk get endpoints", wanted, names)})`,
  );
}

/** @throws {UsageError} for an address whose packets no program of this node sees first */
function checkAddress(node: NodeReader, address: string): string {
  if (node.maps.endpoints.get({ addr: address })) return address;
  if (address.startsWith("127.") || node.nl.addrs().some((one) => one.address === address)) {
    throw new UsageError(
      `${address} is this node itself: its processes' connections are translated when they connect, before there is a packet; ask from a pod or from outside`,
    );
  }
  const remote = node.maps.remotes.get({ prefixlen: 32, addr: address });
  if (remote !== undefined) {
    const name = node.nodeName(remote.via) ?? remote.via;
    throw new UsageError(`${address} is a pod's on node ${name}: its packets are decided there`);
  }
  return address;
}

/** The name that was probably meant, or the command that lists them. */
function meantOr(command: string, given: string, names: readonly string[]): string {
  const near = nearest(given, names);
  return near === undefined ? command : `did you mean ${near}?`;
}

/** The flow, a line for each hop, and the end. */
export function renderTrace(
  { flow, hops, outcome, text }: Trace,
  paint: Paint,
  width = Infinity,
): string {
  const ends = [formatEnd(flow, flow.src, flow.sport), formatEnd(flow, flow.dst, flow.dport)];
  const bad = outcome === "rejected" || outcome === "dropped";
  const rows = hops.map(({ at, reasons, text }, i) => [`${i + 1}`, at, reasons[0] ?? "-", text]);
  return [
    paint("bold", `${flow.protocol} ${ends.join(" → ")}`),
    ...columns(rows, width),
    ...conclusion(text, bad, paint, width),
  ].join("\n");
}
