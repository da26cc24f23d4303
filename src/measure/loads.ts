/** Loads: each has servers of one tool, a client, and the figures of one run. */
import { availableParallelism } from "node:os";
import { selfCommand } from "../lab/executable.ts";
import { parseIperf, parseSockperf, parseWrk } from "./parse.ts";
import type { Measure } from "./report.ts";
import { type Placement, runAt } from "./placement.ts";
import { type Path, PATHS, type Target } from "./testbed.ts";
import { congestion, type Tool } from "./tools.ts";

/** One figure of a run. */
export interface Figure {
  /** Of the measure that it belongs to. */
  measure: string;
  x?: number;
  value: number;
}

interface LoadContext {
  signal: AbortSignal;
  /** Duration of a run, whole seconds. */
  seconds: number;
}

export interface Load {
  /** As `--only` takes it. */
  name: string;
  /** One line, for the help. */
  about: string;
  tool: Tool;
  protocol: "tcp" | "udp";
  measures: readonly Omit<Measure, "lines" | "tool">[];
  paths: readonly Path[];
  /** Of the rounds asked for, so many at most: what has many points has enough of them. */
  rounds?: number;
  /** What is varied; each run is repeated for each. */
  xs?: readonly number[];
  /** `services`: x is the number of services there are. */
  vary?: "services";
  /** Of the pods' devices, bytes; absent: as it is. */
  mtu?: number;
  run(context: LoadContext, client: Placement, target: Target, x?: number): Promise<Figure[]>;
}

const PODS = PATHS.filter((path) => path.startsWith("pod"));
const SERVICES = PODS.filter((path) => path.includes("service"));

/** So much longer than it should take before a run counts as stuck, ms. */
const PATIENCE_MS = 8000;

/** Latencies are taken on one CPU: on two, each message waits for the other CPU to wake, which hides all else. */
const ONE_CPU = availableParallelism() - 1;

/** Words that start a tool's server. */
export function serverCommand(tool: Tool, protocol: "tcp" | "udp", port: number): string[] {
  switch (tool) {
    case "iperf3":
      return ["iperf3", "--server", "--port", String(port)];
    case "sockperf": {
      // The port may have connections of the server before it that are not quite over.
      const words = ["sockperf", "server", "--uc-reuseaddr", "-p", String(port)];
      return protocol === "tcp" ? [...words, "--tcp"] : words;
    }
    default:
      return [...selfCommand(), "bench", "serve", String(port)];
  }
}

/** Where a tool's processes run, once the place is known. */
export function pinned(tool: Tool, where: Placement): Placement {
  return tool === "iperf3" ? where : { ...where, cpu: ONE_CPU };
}

async function iperf(
  { signal, seconds }: LoadContext,
  client: Placement,
  { address, port }: Target,
  args: string[],
) {
  const command = ["iperf3", "--client", address, "--port", String(port), "--json"];
  const words = [...command, "--connect-timeout", "2000", "--time", String(seconds), ...args];
  if (!args.includes("--udp")) words.push(...congestion().args);
  const { out, err } = await runAt(client, words, seconds * 1000 + PATIENCE_MS, signal);
  return parseIperf(out || err);
}

/** TCP with a window: bandwidth, and the round trip time meanwhile. */
function tcp(name: string, what: string, args: string[], paths: readonly Path[] = PODS): Load {
  return {
    name,
    about: `TCP bandwidth and RTT meanwhile, ${what}`,
    tool: "iperf3",
    protocol: "tcp",
    paths,
    measures: [
      { id: name, title: `TCP bandwidth, ${what}`, ...BANDWIDTH, plot: "bars" },
      { id: `${name}-rtt`, title: `TCP round trip under load, ${what}`, ...TIME, plot: "bars" },
    ],
    async run(context, client, target) {
      const { rate, rtt } = await iperf(context, client, target, args);
      const figures: Figure[] = [{ measure: name, value: rate }];
      return rtt === undefined ? figures : [...figures, { measure: `${name}-rtt`, value: rtt }];
    },
  };
}

const BANDWIDTH = { unit: "bit/s", better: "higher" } as const;
const TIME = { unit: "s", better: "lower" } as const;
const RATE = { unit: "1/s", better: "higher" } as const;

const LENGTH = { name: "length of a write", unit: "B", log: true };
const DATAGRAM = { name: "length of a datagram", unit: "B", log: true };

const tcpLength: Load = {
  name: "tcp-length",
  about: "TCP bandwidth by the length of each write",
  tool: "iperf3",
  protocol: "tcp",
  paths: SERVICES,
  rounds: 3,
  xs: [128, 1024, 8192, 65536],
  measures: [{
    ...{ id: "tcp-length", title: "TCP bandwidth by the length of each write", ...BANDWIDTH },
    ...{ plot: "curve", axis: LENGTH },
  }],
  async run(context, client, target, x) {
    const { rate } = await iperf(context, client, target, ["--length", String(x)]);
    return [{ measure: "tcp-length", x: x!, value: rate }];
  },
};

/** Twice a second, over so many of the seconds that are asked for. */
const LONG = 5;

const tcpTime: Load = {
  name: "tcp-time",
  about: "TCP bandwidth and RTT over time",
  tool: "iperf3",
  protocol: "tcp",
  paths: SERVICES,
  rounds: 1,
  measures: [
    {
      ...{ id: "tcp-time", title: "TCP bandwidth over time", ...BANDWIDTH, plot: "time" },
      axis: { name: "time", unit: "s" },
    },
    {
      ...{ id: "tcp-time-rtt", title: "TCP round trip over time", ...TIME, plot: "time" },
      axis: { name: "time", unit: "s" },
    },
  ],
  async run({ signal, seconds }, client, target) {
    const context = { signal, seconds: seconds * LONG };
    const { intervals } = await iperf(context, client, target, ["--interval", "0.5"]);
    return intervals.flatMap(({ at, rate, rtt }) => {
      const x = Math.round(at * 2) / 2;
      const figures: Figure[] = [{ measure: "tcp-time", x, value: rate }];
      if (rtt !== undefined) figures.push({ measure: "tcp-time-rtt", x, value: rtt });
      return figures;
    });
  },
};

function udp(mtu: number, xs: readonly number[]): Load {
  const id = `udp-${mtu}`, title = `UDP bandwidth by the length of a datagram, MTU ${mtu}`;
  return {
    name: id,
    about: title,
    tool: "iperf3",
    protocol: "tcp", // what iperf3's server listens on until a client comes
    paths: SERVICES,
    rounds: 3,
    xs,
    mtu,
    measures: [{ id, title, ...BANDWIDTH, plot: "curve", axis: DATAGRAM }],
    async run(context, client, target, x) {
      const args = ["--udp", "--bitrate", "0", "--length", String(x)];
      const { rate } = await iperf(context, client, target, args);
      return [{ measure: id, x: x!, value: rate }];
    },
  };
}

function roundTrip(protocol: "tcp" | "udp"): Load {
  const id = `rr-${protocol}`, title = `${protocol.toUpperCase()} request/response, median`;
  return {
    name: id,
    about: title,
    tool: "sockperf",
    protocol,
    paths: PATHS,
    measures: [{ id, title, ...TIME, plot: "bars" }],
    run: (context, client, target) => pingPong(id, protocol, context, client, target),
  };
}

async function pingPong(
  measure: string,
  protocol: "tcp" | "udp",
  { signal, seconds }: LoadContext,
  client: Placement,
  { address, port }: Target,
  x?: number,
): Promise<Figure[]> {
  const words = ["sockperf", "ping-pong", "-i", address, "-p", String(port), "--full-rtt"];
  const args = [...(protocol === "tcp" ? ["--tcp"] : []), "-t", String(seconds)];
  const { out, err } = await runAt(
    client,
    [...words, ...args],
    seconds * 1000 + PATIENCE_MS,
    signal,
  );
  const value = parseSockperf(out + err);
  return [x === undefined ? { measure, value } : { measure, x, value }];
}

const connections: Load = {
  name: "connections",
  about: "new connections a second",
  tool: "wrk",
  protocol: "tcp",
  paths: PODS,
  measures: [
    { id: "connections", title: "New TCP connections, one request each", ...RATE, plot: "bars" },
  ],
  async run({ signal, seconds }, client, { address, port }) {
    const url = `http://${address}:${port}/`;
    const words = ["wrk", "--threads", "1", "--connections", "8"];
    const args = ["--duration", `${seconds}s`, "--header", "Connection: close", url];
    const ms = seconds * 1000 + PATIENCE_MS;
    const { out, err } = await runAt(client, [...words, ...args], ms, signal);
    return [{ measure: "connections", value: parseWrk(out + err) }];
  },
};

/** Connections that are timed in a run. */
const CONNECTS = 2000;

async function connectTime(
  measure: string,
  { signal }: LoadContext,
  client: Placement,
  { address, port }: Target,
  x?: number,
): Promise<Figure[]> {
  const words = [...selfCommand(), "bench", "connect", address, String(port), String(CONNECTS)];
  const { success, out, err } = await runAt(client, words, PATIENCE_MS, signal);
  if (!success) throw new Error(err.trim().replace(/^pcnk: /, ""));
  const value = Number(out);
  return [x === undefined ? { measure, value } : { measure, x, value }];
}

const firstPacket: Load = {
  name: "first-packet",
  about: "the time that connect() takes",
  tool: "pcnk",
  protocol: "tcp",
  paths: PODS,
  measures: [
    { id: "first-packet", title: "First packet: connect(), median", ...TIME, plot: "bars" },
  ],
  run: (context, client, target) => connectTime("first-packet", context, client, target),
};

const AXIS = { name: "services", unit: "", log: true };

/** `most`: services at the right end. */
function scaling(most: number): Load[] {
  const xs = [10, 100, 1000, 10_000].filter((count) => count <= most);
  const common = {
    ...{ protocol: "tcp", vary: "services", rounds: 1, xs } as const,
    paths: ["pod→service, one node"] as const,
  };
  const of = (id: string, title: string) =>
    [{ id, title, ...TIME, plot: "curve", axis: AXIS }] as const;
  return [
    {
      ...common,
      name: "services-connect",
      about: "first packet by the number of services",
      tool: "pcnk",
      measures: of("services-connect", "First packet by the number of services"),
      run: (context, client, target, x) =>
        connectTime("services-connect", context, client, target, x),
    },
    {
      ...common,
      name: "services-rr",
      about: "request/response by the number of services",
      tool: "sockperf",
      measures: of("services-rr", "TCP request/response by the number of services, median"),
      run: (context, client, target, x) =>
        pingPong("services-rr", "tcp", context, client, target, x),
    },
  ];
}

/** All of them. @param most services, for the scaling */
export function allLoads(most = 10_000): readonly Load[] {
  return [
    tcp("tcp", "default window", [], PATHS),
    tcp("tcp-64k", "window 64 KB", ["--window", "64K"]),
    tcp("tcp-300k", "window 300 KB", ["--window", "300K"]),
    tcpLength,
    tcpTime,
    udp(1450, [64, 512, 1400, 8192]),
    udp(32_000, [64, 1400, 8192, 31_000]),
    roundTrip("tcp"),
    roundTrip("udp"),
    connections,
    firstPacket,
    ...scaling(most),
  ];
}
