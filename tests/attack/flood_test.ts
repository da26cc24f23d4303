/**
 * Floods from one pod, and from a machine outside, beside a neighbour: its connections to Services and to the world, idle
 * and busy, its new connections, pings and fragments. `FLOODS=full` sends what docs/benchmarks.md has, and prints its table.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { type DataPlane, openDataPlane } from "../../src/bpf/dataplane.ts";
import { readExcess } from "../../src/bpf/shares.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { endpointSliceManifests, SERVICE_PORT, serviceManifests } from "../../src/lab/manifests.ts";
import { settle } from "../../src/lab/services.ts";
import { SERVER_PORT } from "../../src/lab/plan.ts";
import { LAB_TEST, pcnkOn, withLab } from "../netns/support/lab.ts";
import { until } from "../cluster/support/poll.ts";
import { Listener } from "../support/pcnk.ts";
import { linesOf } from "../support/lines.ts";
import * as needs from "../support/needs.ts";

const PYTHON = "/usr/bin/python3";
const script = fileURLToPath(new URL("floods.py", import.meta.url));
const full = Deno.env.get("FLOODS") === "full";

/** What is sent, a second and in all; of flows of UDP each is two packets. */
const SIZE = full
  ? { udp: [400_000, 20_000], syn: [100_000, 10_000], fragments: [200_000, 10_000] }
  : { udp: [150_000, 0], syn: [20_000, 0], fragments: [20_000, 10_000] };

/** Of one kind of use: numbers, and microseconds. */
interface Use {
  count: number;
  p50: number;
  p99: number;
  max: number;
  lost: number;
  errors: string[];
}
type Report = Partial<Record<"request" | "connection" | "ping" | "datagram", Use>>;
const none: Use = { count: 0, p50: 0, p99: 0, max: 0, lost: 0, errors: [] };

function start(lab: LabHandle, where: string, ...args: (string | number)[]): Deno.ChildProcess {
  const io = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
  return lab.command(where, [PYTHON, script, ...args.map(String)], io).spawn();
}

/** A process with floods.py that has said that it is ready; it ends with its standard input. */
async function ready(lab: LabHandle, where: string, ...args: (string | number)[]) {
  const child = start(lab, where, ...args);
  const said = new Listener(child.stdout);
  await said.line(/^ready$/);
  return {
    /** What it says after a line. */
    async end() {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode("go\n"));
      await writer.close();
      const text = await said.all();
      assert.equal((await child.status).code, 0);
      return text;
    },
  };
}

/** The packets and seconds of a flood's report. */
function numbers(text: string): number[] {
  return /^sent (\d+) ([\d.]+)$/m.exec(text)!.slice(1).map(Number);
}

/** The neighbour, pod1-2, which uses what it reaches all the time. */
class Neighbour {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  constructor(lab: LabHandle, ends: string[]) {
    this.#child = start(lab, "pod1-2", "hold", 100, 100, ...ends);
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async ready(): Promise<void> {
    assert.equal((await this.#lines.next()).value, "ready");
  }

  /** What came since it was asked before. */
  async report(): Promise<Report> {
    await this.#writer.write(new TextEncoder().encode("next\n"));
    return JSON.parse((await this.#lines.next()).value);
  }

  async end(): Promise<{ idle: number; busy: number; errors: string[] }> {
    await this.#writer.close();
    const { value } = await this.#lines.next();
    await this.#child.status;
    return JSON.parse(value);
  }
}

const lost = (report: Report) =>
  Object.entries(report).flatMap(([kind, { lost, errors }]) =>
    lost > 0 ? [`${lost} of ${kind}: ${errors.join("; ")}`] : []
  );

const excess = (plane: DataPlane) =>
  readExcess(plane.maps).map(({ address, kind }) => `${address} ${kind}`).sort();

async function pause(seconds: number): Promise<void> {
  await new Promise((done) => setTimeout(done, 1000 * seconds));
}

/** The Service that is flooded: the neighbour uses neither it nor its backend, which has work to do but little for each. */
const NODE_PORT = 30555, ECHO_PORT = 8081;
const flooded = (lab: LabHandle) => ({
  name: "flooded",
  address: "10.96.0.99",
  backends: [lab.pod("pod2-1")],
  nodePort: NODE_PORT,
});

/** Those whose memory for fragments is flooded, and used. */
const receivers = (lab: LabHandle) => [
  ...["pod1-3", "pod2-3"].map((name) => lab.pod(name).address),
  ...["node1", "node2"].map((name) => lab.node(name).address),
];

/** The floods: a name, from where, and what floods.py needs. */
function floods(lab: LabHandle): [string, string, ...(string | number)[]][] {
  const { outside } = lab.store.plan;
  const vip = flooded(lab).address, node = lab.node("node1").address;
  const ends = `${vip}:${SERVICE_PORT},${outside.address}:${SERVER_PORT}`;
  return [
    ["UDP flows to the world", "pod1-1", "udp", outside.address, ...SIZE.udp],
    ["half-open connections", "pod1-1", "connect", ends, ...SIZE.syn],
    ["64,512 flows to one destination", "pod1-1", "udp", outside.address, 64_512, SIZE.udp[1]!],
    ["fragments", "pod1-1", "fragments", vip, SERVICE_PORT, ...SIZE.fragments],
    // Not to the machine that the neighbour sends some to: there both have an address, and identifications, in common.
    ["fragments to the world", "pod1-1", "fragments", outside.gateway, 9, ...SIZE.fragments],
    [
      "fragments to nodes and pods",
      "pod1-1",
      "fragments",
      receivers(lab).join(),
      9,
      ...SIZE.fragments,
    ],
    ["half-open connections from outside", outside.name, "syn", node, NODE_PORT, ...SIZE.syn],
    ["UDP from outside", outside.name, "claims", node, NODE_PORT, ...SIZE.syn],
    ["fragments from outside", outside.name, "later", node, NODE_PORT, ...SIZE.fragments],
  ];
}

Deno.test({
  ...LAB_TEST,
  name:
    "no flood of a pod, or from outside, costs its neighbours a connection, a ping or a fragment",
  ignore: LAB_TEST.ignore || !needs.file(PYTHON),
  fn: () =>
    withLab(
      { name: full ? "tfloodsfull" : "tfloods", nodes: 2, pods: 3, attach: "clsact" },
      async (lab) => {
        const { outside } = lab.store.plan;
        await settle(lab.store, lab.services());
        const more = flooded(lab);
        lab.writeManifest("flooded", [
          ...serviceManifests([more]),
          ...endpointSliceManifests([more]).map((slice) => ({
            ...slice,
            ports: slice.ports.map((port) => ({ ...port, port: ECHO_PORT })),
          })),
        ]);
        for (const { name, bpffs } of lab.store.plan.nodes) {
          using plane = openDataPlane(bpffs);
          await until(`${name} knows the Service`, 60_000, () => {
            const found = plane.maps.backends.entries().some(([, { port }]) => port === ECHO_PORT);
            return Promise.resolve(found);
          });
        }
        const vip = (name: string) => lab.services().find((one) => one.name === name)!.address;
        const [near, far] = [vip("self-pod1-3"), vip("self-pod2-3")];
        const world = `${outside.address}:${SERVER_PORT}`;
        // The node's own pods are behind it, those of node1 here.
        const nodePort = `${lab.node("node2").address}:30101`;
        const neighbour = new Neighbour(lab, [
          `${near}:${SERVICE_PORT}`,
          `${far}:${SERVICE_PORT}`,
          nodePort,
          world,
          ...[near, lab.pod("pod1-3").address, lab.pod("pod2-3").address, outside.address].map((
            host,
          ) => `ping:${host}`),
          // But to node1, which the machine outside floods.
          ...receivers(lab).filter((host) => host !== lab.node("node1").address).map((host) =>
            `long:${host}`
          ),
          ...[near, far].map((host) => `udp:${host}:${SERVICE_PORT}`),
          `udp:${world}`,
        ]);
        await neighbour.ready();
        const echo = await ready(lab, "pod2-1", "echo", ECHO_PORT);
        using plane = openDataPlane(lab.node("node1").bpffs);
        const rows: string[] = [], bad: string[] = [];
        const note = (name: string, report: Report, before?: Report) => {
          const cells = (["request", "connection", "ping"] as const).map((kind) => {
            const { p99, max, lost } = report[kind] ?? none;
            const former = before?.[kind]?.p99;
            return `${p99}${former ? ` (${(p99 / former).toFixed(2)})` : ""}, ${max}, ${lost}`;
          });
          rows.push(`| ${name} | ${cells.join(" | ")} | ${(report.datagram ?? none).lost} |`);
          bad.push(...lost(report).map((text) => `${name}: ${text}`));
        };
        for (const [name, where, ...args] of floods(lab)) {
          const flood = await ready(lab, where, ...args);
          await neighbour.report();
          await pause(full ? 10 : 2);
          const before = await neighbour.report();
          const [packets, seconds] = numbers(await flood.end());
          note(`${name}, ${Math.round(packets! / seconds!)}/s`, await neighbour.report(), before);
        }
        await echo.end();
        const end = await neighbour.end();
        console.log(rows.join("\n"));
        assert.deepEqual(bad, []);
        const { idle, busy, errors } = end;
        assert.deepEqual({ idle, busy, errors }, { idle: 0, busy: 0, errors: [] });
        const pod = lab.pod("pod1-1").address;
        const own = plane.maps.sessions.entries().filter(([key]) => key.src === pod).length;
        assert.ok(own <= 0.51 * plane.maps.sessions.maxEntries / 2, `${own} flows of one pod`);
        console.log(excess(plane));
        assert.ok(excess(plane).includes(`${pod} FRAGMENTS`));
        assert.ok(
          excess(plane).every((one) => one.startsWith(`${pod} `) || one.startsWith("undef")),
        );
        const { stdout } = await pcnkOn(lab, "status");
        assert.match(stdout, /pod1-1 \(.*beyond its share/);
        assert.match(Deno.readTextFileSync(lab.node("node1").agentLog), /ShareExceeded.*pod1-1/);
      },
    ),
});
