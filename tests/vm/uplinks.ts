/**
 * Runs in the virtual machine: a node's uplink as it may be (uplink_links.ts, uplink_tunnels.ts), with traffic. A lab's first node gets one
 * after the other while its agent runs, so each is also a device that appears late. Clients outside ask for NodePorts
 * with a backend on that node and on the other one, a pod asks a machine outside and the other node's pod.
 *
 *   deno test -A tests/vm/uplinks.ts            those that this kernel has devices for
 *   deno test -A tests/vm/uplinks.ts -- VLAN    whose name has that
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { REMOTE_MODE } from "../../src/bpf/layout.ts";
import { nodeManifests } from "../../src/lab/manifests.ts";
import { readState } from "../../src/node/state_files.ts";
import type { Finding } from "../../src/view/finding.ts";
import type { Asked, AskReport } from "../netns/services/client.ts";
import { Cluster } from "../netns/services/cluster.ts";
import { serviceObject, sliceObject } from "../netns/services/objects.ts";
import { LAB_TEST, pcnkOn, withLab } from "../netns/support/lab.ts";
import { linkShapes } from "./uplink_links.ts";
import { type Shape, undo } from "./uplink_shape.ts";
import { tunnelShapes } from "./uplink_tunnels.ts";

/** NodePorts of the Services with a backend on the first node, and on the second. */
const LOCAL = 30701, REMOTE = 30702;
const SERVER = 8080;
/** Bytes: several segments; a datagram of one packet, and one of fragments, those of the world larger than the pods' MTU. */
const SIZES: [kind: "tcp" | "udp", size: number][] = [["tcp", 20_000], ["udp", 500], ["udp", 3000]];
/** An emulated machine is slow: the verifier alone takes a minute for the first device without Ethernet header. */
const PATIENCE_MS = 300_000;

const INTERNAL_IPS: readonly [string, string] = ["192.168.50.11", "192.168.50.12"];

class Uplinks {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async try(shape: Shape): Promise<void> {
    let failed: unknown;
    try {
      await this.#run(shape.make);
      this.#nodes(shape.internalIPs);
      await (shape.unserved === undefined ? this.#serves(shape) : this.#unserved(shape.unserved));
    } catch (error) {
      const { stdout } = await pcnkOn(this.#cluster.lab, "get", "counters");
      failed = new Error(`${(error as Error).message}\n${stdout}`);
    }
    await this.#undo(shape).catch((error) => failed ??= error);
    if (failed) throw failed;
  }

  async #serves(shape: Shape): Promise<void> {
    for (const { uplink } of shape.paths) await this.#isUplink(uplink);
    for (const direct of shape.direct ? [false, true] : [false]) {
      if (direct) this.#nodes(shape.internalIPs, direct);
      await this.#route(direct ? "direct" : "overlay", shape.internalIPs ?? INTERNAL_IPS);
      await Promise.all([this.#fromOutside(shape), this.#fromPod(shape)]);
    }
    await this.#well(shape);
  }

  async #undo(shape: Shape): Promise<void> {
    await this.#run(undo(shape));
    this.#nodes();
    await this.#cluster.until("eth0 alone is the uplink", () => {
      const entries = this.#cluster.maps("node1").uplinks.entries();
      return entries.length === 1 && entries[0]![1].addr === "192.168.50.11";
    }, PATIENCE_MS);
  }

  /** Runs scripts in namespaces, then has all forget their neighbours: addresses have moved to other devices. */
  async #run(make: Shape["make"]): Promise<void> {
    const { fabric, nodes, outside } = this.#cluster.lab.store.plan;
    const paths = new Map([fabric, outside, ...nodes].map((one) => {
      return ["name" in one ? one.name : "fabric", one.netnsPath];
    }));
    const flush: Shape["make"] = [...paths.keys()].map((where) => [
      where as Shape["make"][number][0],
      "ip neigh flush all",
    ]);
    for (const [where, script] of [...make, ...flush]) {
      const args = [`--net=${paths.get(where)!}`, "sh", "-ec", script];
      const { success, stderr } = await new Deno.Command("nsenter", { args }).output();
      assert.ok(success, `${where}: ${script}\n${new TextDecoder().decode(stderr)}`);
    }
  }

  /** The Node objects. */
  #nodes(internalIPs = INTERNAL_IPS, direct = false) {
    const objects = nodeManifests(this.#cluster.lab.store.plan).map((node, i) => ({
      ...node,
      metadata: { name: `node${i + 1}`, annotations: { "pcnk.io/direct-routing": `${direct}` } },
      status: { addresses: [{ type: "InternalIP", address: internalIPs[i] }] },
    }));
    this.#cluster.write("nodes", ...objects);
  }

  async #isUplink(name: string): Promise<void> {
    const { dir } = this.#cluster.lab.node("node1");
    await this.#cluster.until(`${name} is an uplink`, () => {
      const devices = readState(dir, "uplinks")?.devices ?? [];
      return devices.some((one) => one.name === name && one.uplink);
    }, PATIENCE_MS);
  }

  /** Waits until both nodes reach each other's pods in this way, by the InternalIPs of this shape. */
  async #route(mode: "overlay" | "direct", [one, two]: readonly string[]): Promise<void> {
    const pods = [["node1", "pod2-1", two], ["node2", "pod1-1", one]] as const;
    const wanted = mode === "direct" ? REMOTE_MODE.DIRECT : REMOTE_MODE.OVERLAY;
    await this.#cluster.until(
      `pods are reached by ${mode}`,
      () =>
        pods.every(([node, pod, via]) => {
          const addr = this.#cluster.lab.pod(pod).address;
          const remote = this.#cluster.maps(node).remotes.get({ prefixlen: 32, addr });
          return remote?.mode === wanted && (mode === "direct" || remote.via === via);
        }),
      PATIENCE_MS,
    );
  }

  async #fromOutside({ paths }: Shape): Promise<void> {
    const asked = paths.flatMap(({ near }) =>
      SIZES.flatMap((
        [kind, size],
      ): Asked[] => [[kind, near, LOCAL, size], [kind, near, REMOTE, size]])
    );
    const ask = () => this.#cluster.allAnswered("outside", asked);
    // Again: the first fragments of the remote backend may be larger than a tunnel's MTU, of which the node's error tells it.
    const answers = await ask().catch(ask);
    const backends = asked.map(([, , port]) => port === LOCAL ? "pod1-1" : "pod2-1");
    assert.deepEqual(answers.map(({ backend }) => backend), backends);
    const clients = sources(answers).filter((_, i) => backends[i] === "pod1-1");
    const wanted = paths.flatMap(({ far }) => SIZES.map(() => far));
    assert.deepEqual(clients, wanted, "a backend on the node sees its client");
  }

  async #fromPod(shape: Shape): Promise<void> {
    const paths = shape.paths.filter(({ seenAs }) => seenAs?.length !== 0);
    const other = this.#cluster.lab.pod("pod2-1").address;
    const asked = [...paths.map(({ far }) => far), other].flatMap((address) =>
      SIZES.map(([kind, size]): Asked => [kind, address, SERVER, size])
    );
    const seen = sources(await this.#cluster.allAnswered("pod1-1", asked));
    const own = this.#cluster.lab.pod("pod1-1").address;
    paths.forEach(({ near, seenAs = [near] }, i) => {
      const wrong = SIZES.map((_, j) => seen[i * SIZES.length + j]!).filter((one) =>
        !seenAs.includes(one)
      );
      assert.deepEqual(wrong, [], `pods leave as ${seenAs.join(" or ")}`);
    });
    assert.deepEqual(seen.slice(-SIZES.length), SIZES.map(() => own), "pods see each other");
  }

  /** `pcnk status` has nothing against it. */
  async #well({ paths }: Shape): Promise<void> {
    let findings: Finding[] = [], against: Finding[] = [];
    await this.#cluster.until("pcnk status is well", async () => {
      findings = await this.#findings();
      against = findings.filter(({ health }) => health === "bad" || health === "warn");
      return against.length === 0;
    }, PATIENCE_MS).catch((error) => {
      assert.deepEqual(against, []);
      throw error;
    });
    for (const { uplink } of paths) {
      const said = findings.some(({ part, text }) =>
        part === "uplink" && text.startsWith(`${uplink}, `)
      );
      assert.ok(said, `no line of ${uplink}: ${JSON.stringify(findings)}`);
    }
  }

  async #findings(): Promise<Finding[]> {
    const { stdout } = await pcnkOn(this.#cluster.lab, "status", "-o", "json");
    return JSON.parse(stdout).findings;
  }

  /** Status and an event say that it is not, and what to do. */
  async #unserved({ device, text, next }: NonNullable<Shape["unserved"]>): Promise<void> {
    const { agentLog } = this.#cluster.lab.node("node1");
    await this.#cluster.until(
      "the log has the event",
      () =>
        Deno.readTextFileSync(agentLog).split("\n").some((line) =>
          line.includes('"UplinkNotServed"') && line.includes(`"${device}"`)
        ),
      PATIENCE_MS,
    );
    const findings = await this.#findings();
    const said = findings.find((one) => text.test(one.text));
    assert.equal(said?.health, "bad", JSON.stringify(findings));
    assert.match(said?.next ?? "", next);
  }
}

const sources = (answers: AskReport["answers"]) =>
  answers.map(({ seenAs }) => seenAs.slice(0, seenAs.lastIndexOf(":")));

Deno.test("uplinks", LAB_TEST, async (t) => {
  const dir = mkdtempSync("/tmp/pcnk-uplinks-");
  try {
    await withLab({ name: "tuplinks", nodes: 2, pods: 1, routing: "overlay" }, async (lab) => {
      using cluster = new Cluster(lab, { routing: "overlay", attach: "clsact" });
      for (
        const [name, vip, pod] of [["near", "10.96.9.1", "pod1-1"], [
          "far",
          "10.96.9.2",
          "pod2-1",
        ]] as const
      ) {
        const service = serviceObject(name, vip, { nodePort: pod === "pod1-1" ? LOCAL : REMOTE });
        cluster.write(name, service, sliceObject(name, [cluster.end(pod)]));
        await cluster.serves(vip, pod);
      }
      const uplinks = new Uplinks(cluster);
      const { nodes: [node], outside } = lab.store.plan;
      const places = { node: node!.netns, outside: outside.netns, dir };
      for (const shape of [...linkShapes(places), ...tunnelShapes(places)]) {
        if (!Deno.args.every((word) => shape.name.includes(word))) continue;
        await t.step(shape.name, async () => {
          try {
            await uplinks.try(shape);
          } catch (error) {
            if (!(error as Error).message.includes("Unknown device type")) throw error;
            console.log(`skipped: ${shape.name}: this kernel has no such device`);
          }
        });
      }
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
});
