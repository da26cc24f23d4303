/**
 * The trace of `pcnk trace` against the packets themselves: random flows are traced, then really sent from the same port, and the first
 * thing the node's programs do with each, as `pcnk monitor` tells it, must be what the trace said.
 */
import assert from "node:assert/strict";
import type { LabHandle } from "../../src/lab/lab.ts";
import { within } from "../../src/lab/wait.ts";
import { generator } from "../../src/services/test_support.ts";
import type { Flow } from "../../src/view/packet.ts";
import { withNetns } from "../../src/linux/netns.ts";
import { NodeReader } from "../../src/view/node.ts";
import { Replica } from "../../src/view/replica.ts";
import { type Trace, Tracer } from "../../src/view/trace.ts";
import { linesOf } from "../support/lines.ts";
import { listening, startMonitor } from "./support/monitor.ts";
import { labTest } from "./support/lab.ts";

/** Flows of a run, and which run: another seed, other flows. */
const FLOWS = 40;
const SEED = Number(Deno.env.get("TRACE_SEED") ?? 20261121);

/** Of the first flow; every flow has its own port, by which its packets are known again. */
const FIRST_PORT = 20_001;

/** What a monitor tells of a packet. */
interface Told {
  reason: string;
  flow?: Flow;
}

interface Sent {
  from: string;
  src: string;
  protocol: "tcp" | "udp";
  dst: string;
  dport: number;
  sport: number;
}

/**
 * Sends the first packet of each flow, all from the ports they name, and tells which datagrams were refused by ICMP. Ends with its
 * standard input; until then the ports stay taken.
 */
const SENDER = `
import json, select, socket, sys
datagrams = {}
kept = []
for flow in json.loads(sys.argv[1]):
    tcp = flow["protocol"] == "tcp"
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", flow["sport"]))
    s.setblocking(False)
    s.connect_ex((flow["dst"], flow["dport"]))
    kept.append(s)
    if not tcp:
        s.send(b"x")
        datagrams[s] = flow["sport"]
while True:
    readable, _, _ = select.select([sys.stdin, *datagrams], [], [])
    if sys.stdin in readable:
        break
    for s in readable:
        try:
            s.recv(1)
        except ConnectionRefusedError:
            print(datagrams.pop(s), flush=True)
`;

/** Flows to what there is and to what there is not. */
function flows(lab: LabHandle, seed: number): Sent[] {
  const { below, pick } = generator(seed);
  const { nodes, outside } = lab.store.plan;
  const pods = ["pod1-1", "pod1-2", "pod2-1"].map((name) => lab.pod(name));
  const services = ["10.96.0.10", "10.96.0.11", "10.96.0.12", "10.96.0.13", "10.96.0.14"]
    .concat("10.96.1.1", "10.96.1.2", "10.96.11.2", "10.96.11.3", "10.96.12.2", "10.96.200.200");
  const nodePorts = [30080, 30081, 30101, 30102, 30999, 22];
  const inside = () =>
    pick([
      () => [pick(services), pick([80, 80, 80, 81])] as const,
      () => [pick(pods).address, pick([8080, 9999])] as const,
      () => [pick(nodes).address, pick(nodePorts)] as const,
      () => [pick(["10.244.9.9", outside.address]), 1 + below(60_000)] as const,
    ])();
  return Array.from({ length: FLOWS }, (_, i) => {
    const from = pick(["pod1-1", "pod1-2", "outside"]);
    const src = from === "outside" ? outside.address : lab.pod(from).address;
    // From outside a node's own addresses alone are reached: nothing leads to the others.
    let [dst, dport] = inside();
    while (dst === src) [dst, dport] = inside();
    if (from === "outside") [dst, dport] = [nodes[0]!.address, pick(nodePorts)];
    return { from, src, protocol: pick(["tcp", "udp"]), dst, dport, sport: FIRST_PORT + i };
  });
}

/** As `pcnk trace` on node 1, but all on one copy of the programs: the kernel verifies it for seconds. */
function traceAll(lab: LabHandle, all: readonly Sent[]): Trace[] {
  const { bpffs, dir, netnsPath } = lab.node("node1");
  return withNetns(netnsPath, () => {
    using node = new NodeReader({ bpffs, stateDir: dir });
    using replica = new Replica(node);
    return all.map(({ from: _, protocol, ...flow }) => {
      const upper = protocol.toUpperCase() as "TCP" | "UDP";
      return new Tracer(node, replica, { ...flow, protocol: upper }).run();
    });
  });
}

/** A monitor of every packet on node 1: the first thing that was done with each flow, by the client's port. */
class Watcher implements AsyncDisposable {
  readonly first = new Map<number, Told>();
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #wake = () => {};

  constructor(lab: LabHandle) {
    this.#child = startMonitor(lab, ["--flows", "--rate", "100000"], "inherit");
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const line of linesOf(this.#child.stdout)) {
      const told: Told = JSON.parse(line);
      for (const port of [told.flow?.sport, told.flow?.dport]) {
        if (port !== undefined && !this.first.has(port)) this.first.set(port, told);
      }
      this.#wake();
    }
  }

  /** Waits until something is known of each of these ports. */
  async saw(ports: number[]): Promise<void> {
    while (!ports.every((port) => this.first.has(port))) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGINT");
    await this.#child.status;
    await this.#reading;
  }
}

/** Sends flows from their places, and learns which datagrams were refused. */
class Senders implements AsyncDisposable {
  readonly refused = new Set<number>();
  readonly #children: Deno.ChildProcess[] = [];
  readonly #reading: Promise<void>[] = [];
  #wake = () => {};

  constructor(lab: LabHandle, all: Sent[]) {
    for (const from of new Set(all.map((flow) => flow.from))) {
      const own = JSON.stringify(all.filter((flow) => flow.from === from));
      const io = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
      const child = lab.command(from, ["python3", "-c", SENDER, own], io).spawn();
      this.#children.push(child);
      this.#reading.push(this.#read(child));
    }
  }

  async #read(child: Deno.ChildProcess): Promise<void> {
    for await (const line of linesOf(child.stdout)) {
      this.refused.add(Number(line));
      this.#wake();
    }
  }

  /** Waits until these datagrams were refused. */
  async sawRefused(ports: number[]): Promise<void> {
    while (!ports.every((port) => this.refused.has(port))) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await child.stdin.close().catch(() => {});
    await Promise.all([...this.#reading, ...this.#children.map(({ status }) => status)]);
  }
}

/** One of several backends is chosen anew for each packet: it may be on either node. */
const SPREAD = new Set(["10.96.0.10", "10.96.0.12", "10.96.0.13", "10.96.0.14"]);
/** Services of a single pod: here the very address must be right. */
const ONE_BACKEND = /^10\.96\.1[12]\./;
const FORWARDED = /^forward_(?:sent|delivered)$/;

labTest("what pcnk trace says of random flows is what becomes of their packets", {
  name: "tracerandom",
  nodes: 2,
  pods: 2,
}, async (lab) => {
  const all = flows(lab, SEED);
  // First, as a real packet leaves a session behind and a trace nothing.
  const traces = traceAll(lab, all);
  await using watcher = new Watcher(lab);
  await listening(lab);
  await using senders = new Senders(lab, all);
  // A datagram that is refused is answered by ICMP: a monitor shows that answer, which has no ports.
  const byIcmp = (_: Sent, i: number) =>
    all[i]!.protocol === "udp" && traces[i]!.outcome === "rejected";
  const told = all.filter((flow, i) => !byIcmp(flow, i)).map(({ sport }) => sport);
  const refused = all.filter(byIcmp).map(({ sport }) => sport);
  await within(10_000, "not every flow was seen", watcher.saw(told)).catch((error) => {
    const unseen = all.filter(({ sport }) => told.includes(sport) && !watcher.first.has(sport));
    throw new Error(`${error.message}: ${JSON.stringify(unseen, null, 1)}`);
  });
  await within(10_000, "not every refusal arrived", senders.sawRefused(refused));
  for (const [i, flow] of all.entries()) {
    if (byIcmp(flow, i)) continue;
    const said = traces[i]!.hops[0]!.reasons[0]!;
    const { reason, flow: left } = watcher.first.get(flow.sport)!;
    const words = `seed ${SEED}, ${JSON.stringify(flow)}: ${traces[i]!.text}`;
    // 30081 is Local, for clients from outside.
    const spread = SPREAD.has(flow.dst) || flow.dport === 30080 ||
      flow.dport === 30081 && flow.from !== "outside";
    // From outside to the other node, and from a pod to itself, it goes on by a port of this node's: known
    // again is the reply alone.
    const replied = reason === (flow.from === "outside" ? "reply_sent" : "reply_delivered");
    if (FORWARDED.test(said) && replied) continue;
    if (spread && FORWARDED.test(said) && FORWARDED.test(reason)) continue;
    assert.equal(reason, said, words);
    if (FORWARDED.test(said) && ONE_BACKEND.test(flow.dst)) {
      assert.ok(traces[i]!.text.includes(`${left!.dst}:${left!.dport}`), words);
    }
  }
  const kinds = new Set(traces.map(({ hops }) => hops[0]!.reasons[0]));
  assert.ok(kinds.size >= 6, `only ${[...kinds]}`);
});
