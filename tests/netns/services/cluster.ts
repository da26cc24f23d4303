/** A lab of three nodes for tests of services: its objects, clients in its places, and waiting for its maps. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { type DataPlane, openDataPlane } from "../../../src/bpf/dataplane.ts";
import { SCOPE } from "../../../src/bpf/layout.ts";
import { type Reason, reasonIndex } from "../../../src/bpf/reasons.ts";
import type { LabHandle } from "../../../src/lab/lab.ts";
import type { Manifest } from "../../../src/lab/manifests.ts";
import { linesOf } from "../../support/lines.ts";
import { kernel } from "../../support/needs.ts";
import { LAB_TEST, withLab } from "../support/lab.ts";
import type { Asked, AskReport, LoadReport, UdpReport } from "./client.ts";
import type { End } from "./objects.ts";

/** How nodes reach each other, and how programs are attached. Every value of both is met. */
const combos = [
  { routing: "overlay", attach: "tcx" },
  { routing: "direct", attach: "clsact" },
] as const;

interface Combo {
  routing: "overlay" | "direct";
  attach: "tcx" | "clsact";
}

const script = fileURLToPath(new URL("client.ts", import.meta.url));

/** A client that runs. */
export interface Running<R> {
  /** Sends a line and waits for the answer. */
  ask(line: string): Promise<string>;
  /** Ends it; what it reports. */
  end(): Promise<R>;
}

/** One step of a suite. */
type Step = (name: string, fn: () => Promise<void>) => Promise<void>;

/** A suite on a lab of its own for every combination; steps go on when one fails. */
export function onClusters(
  name: string,
  suite: (cluster: Cluster, step: Step) => Promise<void>,
): void {
  for (const [i, combo] of combos.entries()) {
    Deno.test({
      name: `${name} (${combo.routing}, ${combo.attach})`,
      ...LAB_TEST,
      ignore: LAB_TEST.ignore || (combo.attach === "tcx" && !kernel(6, 6)),
      async fn(t) {
        const lab = `t${name.replaceAll(/[^a-z]/g, "").slice(0, 10)}${i}`;
        await withLab({ name: lab, nodes: 3, pods: 2, ...combo }, async (handle) => {
          using cluster = new Cluster(handle, combo);
          await suite(cluster, async (step, fn) => void (await t.step(step, fn)));
        });
      },
    });
  }
}

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

export class Cluster implements Disposable {
  private readonly planes = new Map<string, DataPlane>();
  private readonly children = new Set<Deno.ChildProcess>();

  constructor(readonly lab: LabHandle, readonly combo: Combo) {}

  /** The maps of a node. */
  maps(node: string): DataPlane["maps"] {
    let plane = this.planes.get(node);
    if (plane === undefined) {
      plane = openDataPlane(this.lab.node(node).bpffs);
      this.planes.set(node, plane);
    }
    return plane.maps;
  }

  nodes(): string[] {
    return this.lab.store.plan.nodes.map(({ name }) => name);
  }

  address(node: string): string {
    return this.lab.node(node).address;
  }

  get outside(): string {
    return this.lab.store.plan.outside.address;
  }

  /** The endpoint that a pod is. */
  end(pod: string, conditions: Partial<End> = {}): End {
    const { address, node } = this.lab.pod(pod);
    return { address, node, ...conditions };
  }

  /** Writes objects into `NAME.yaml` of the lab's manifests. */
  write(name: string, ...objects: Manifest[]): void {
    this.lab.writeManifest(name, objects);
  }

  /** `10.244.1.2:8080` of each backend behind an address and port; undefined: there is no such entry. */
  backends(
    node: string,
    addr: string,
    { port = 80, proto = 6, external = false } = {},
  ): string[] | undefined {
    const { services, backends } = this.maps(node);
    const scope = external ? SCOPE.EXTERNAL : SCOPE.CLUSTER;
    const entry = services.get({ addr, port, proto, scope });
    return entry &&
      backends.range(entry.first, entry.count).map(({ addr, port }) => `${addr}:${port}`).sort();
  }

  /** Waits until every node's maps have exactly these pods behind a ClusterIP's port 80, TCP and UDP. */
  async serves(clusterIP: string, ...pods: string[]): Promise<void> {
    const wanted = pods.map((pod) => `${this.lab.pod(pod).address}:8080`).sort().join();
    await this.until(
      `${clusterIP} has ${pods.join(", ") || "no backends"}`,
      () =>
        this.nodes().every((node) =>
          [6, 17].every((proto) => this.backends(node, clusterIP, { proto })?.join() === wanted)
        ),
    );
  }

  /** Waits, looking every few milliseconds (maps have no event to wait for); returns the milliseconds it took. */
  async until(what: string, holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<number> {
    const since = performance.now();
    while (!await holds()) {
      assert.ok(performance.now() - since < ms, `not within ${ms} ms: ${what}`);
      await new Promise((done) => setTimeout(done, 5));
    }
    return performance.now() - since;
  }

  /** Packets of a reason so far, on a node. */
  counted(node: string, reason: Reason): number {
    const cpus = this.maps(node).counters.get(reasonIndex(reason)) ?? [];
    return Number(cpus.reduce((sum, { packets }) => sum + packets, 0n));
  }

  private async start<R>(where: string, args: string[]): Promise<Running<R>> {
    const argv = [Deno.execPath(), "run", "-A", "--no-check", script, ...args];
    const io = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    const child = this.lab.command(where, argv, io).spawn();
    this.children.add(child);
    const lines = linesOf(child.stdout);
    const next = async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the client ${args.join(" ")} in ${where} ended`);
      return value;
    };
    assert.equal(await next(), "started");
    const writer = child.stdin.getWriter();
    return {
      ask: async (line) => {
        await writer.write(new TextEncoder().encode(line + "\n"));
        return await next();
      },
      end: async () => {
        await writer.close();
        let last = "{}";
        for await (const line of lines) last = line;
        await child.status;
        this.children.delete(child);
        return JSON.parse(last);
      },
    };
  }

  /** Loops of connect, ask, close. */
  load = (where: string, address: string, port: number, clients: number) =>
    this.start<LoadReport>(where, ["load", address, String(port), String(clients)]);

  /** One connection that stays open. */
  hold = (where: string, address: string, port = 80) =>
    this.start<unknown>(where, ["hold", address, String(port)]);

  /** A steady sender of datagrams. */
  udp = (where: string, address: string, port = 80, connected = false) =>
    this.start<UdpReport>(where, [connected ? "udp-connected" : "udp", address, String(port)]);

  /** New sockets one after the other; `size` bytes there and back. */
  async ask(
    where: string,
    address: string,
    { kind = "tcp", port = 80, count = 1, size = 5 } = {},
  ): Promise<AskReport> {
    return await this.run<AskReport>(where, [
      "ask",
      kind,
      address,
      ...[port, count, size].map(String),
    ]);
  }

  /** New sockets, all at once: what each got, which must be an answer. */
  async allAnswered(where: string, asked: readonly Asked[]): Promise<AskReport["answers"]> {
    const reports = await this.run<AskReport[]>(where, ["asks", JSON.stringify(asked)]);
    const failed = reports.map(({ error }, i) =>
      error && `${where}: ${asked[i]!.join(" ")}: ${error}`
    );
    assert.deepEqual(failed.filter((error) => error), []);
    return reports.flatMap(({ answers }) => answers);
  }

  private async run<R>(where: string, args: string[]): Promise<R> {
    const argv = [Deno.execPath(), "run", "-A", "--no-check", script, ...args];
    const io = { stdin: "null", stdout: "piped", stderr: "piped" } as const;
    const { code, stdout, stderr } = await this.lab.command(where, argv, io).output();
    assert.equal(code, 0, decode(stderr));
    return JSON.parse(decode(stdout));
  }

  /** As `ask`, where every one must be answered: who did, each once. */
  async answered(where: string, address: string, options: Parameters<Cluster["ask"]>[2] = {}) {
    const { answers, error } = await this.ask(where, address, options);
    assert.equal(error, undefined, `${where} to ${address}: ${error}`);
    return {
      backends: [...new Set(answers.map(({ backend }) => backend))].sort(),
      seenAs: [...new Set(answers.map(({ seenAs }) => seenAs.split(":")[0]!))].sort(),
    };
  }

  [Symbol.dispose](): void {
    for (const child of this.children) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
    }
    for (const plane of this.planes.values()) plane.close();
  }
}
