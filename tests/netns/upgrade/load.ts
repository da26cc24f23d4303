/** Traffic of which an upgrade may lose nothing: from a pod to a ClusterIP, and from outside to a NodePort. */
import assert from "node:assert/strict";
import { reasons } from "../../../src/bpf/reasons.ts";
import { installDataPlane } from "../../../src/bpf/install.ts";
import type { Session, SessionKey } from "../../../src/bpf/layout.ts";
import type { TestNetns } from "../../support/sandbox.ts";
import { Cluster, type ClusterOptions } from "../dispatcher/cluster.ts";
import { linesOf } from "../../support/lines.ts";

const STEADY = new URL("../install/steady.py", import.meta.url).pathname;

const CLIENT = "10.244.1.2", NEAR = "10.244.1.3", FAR = "10.244.2.2";
const VIP = "10.96.0.1", NODE1 = "192.0.2.11", OUTSIDE = "198.51.100.2";
const PORT = 8080, NODE_PORT = 30080;

/** What steady.py counts. */
interface Counted {
  sent: number;
  lost: number;
  kept: number;
  fresh: number;
  failed: string[];
}

/** Packets that did not fit into the machine's queues of received ones (netdev_max_backlog), since it booted. */
function backlogDrops(): number {
  const lines = Deno.readTextFileSync("/proc/net/softnet_stat").trim().split("\n");
  return lines.reduce((sum, line) => sum + parseInt(line.split(" ")[1]!, 16), 0);
}

/** steady.py in a namespace; what it says comes on standard error. */
class Steady {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<string, void>;

  constructor({ path }: TestNetns, ...args: (string | number)[]) {
    this.#child = new Deno.Command("nsenter", {
      args: [`--net=${path}`, "python3", STEADY, ...args.map(String)],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#lines = linesOf(this.#child.stderr);
  }

  /** The next line. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("steady.py ended");
    return value;
  }

  async end(signal: Deno.Signal): Promise<void> {
    this.#child.kill(signal);
    while (!(await this.#lines.next()).done);
    await this.#child.status;
  }
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }
}

/**
 * A cluster under load: of each kind of client a thousand datagrams a second, 25 connections that stay and a hundred new ones a
 * second, to a backend on the same node and one on another.
 */
export class LoadedCluster implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly #servers: Steady[] = [];
  readonly #clients: Steady[] = [];
  readonly #lasting = new Set<string>();
  readonly #backlogDrops = backlogDrops();

  private constructor({ install = installDataPlane, ...options }: ClusterOptions) {
    this.cluster = new Cluster({
      ...options,
      // Room for every connection of the test: what the table would evict is not lost by an upgrade.
      install: ({ mapSizes, ...rest }) =>
        install({ ...rest, mapSizes: { ...mapSizes, sessions: 65536 } }),
    });
  }

  static async start(options: ClusterOptions): Promise<LoadedCluster> {
    const loaded = new LoadedCluster(options);
    const { cluster } = loaded;
    for (const proto of ["tcp", "udp"] as const) {
      cluster.service(VIP, 80, NODE_PORT, proto, [`${NEAR}:${PORT}`, `${FAR}:${PORT}`]);
    }
    for (const addr of [NEAR, FAR]) {
      loaded.#servers.push(new Steady(cluster.pod(addr), "serve", addr, PORT));
    }
    for (const server of loaded.#servers) assert.equal(await server.line(), "ready");
    loaded.#clients.push(
      new Steady(cluster.pod(CLIENT), "load", VIP, 80, 25, 100),
      new Steady(cluster.outside, "load", NODE1, NODE_PORT, 25, 100),
    );
    for (const [i, client] of loaded.#clients.entries()) {
      const [ready, ...ports] = (await client.line()).split(" ");
      assert.equal(ready, "ready");
      for (const port of ports) loaded.#lasting.add(`${[CLIENT, OUTSIDE][i]}:${port}`);
    }
    return loaded;
  }

  /** How many flows last as long as the load. */
  get flows(): number {
    return this.#lasting.size;
  }

  /** Is this an entry of such a flow? Those of the others come and go, and so do their ports. */
  lasts([key, { dst, dport }]: readonly [SessionKey, Pick<Session, "dst" | "dport">]): boolean {
    return this.#lasting.has(`${key.src}:${key.sport}`) || this.#lasting.has(`${dst}:${dport}`);
  }

  /** Ends the load, of which nothing may have been lost. */
  async finish(): Promise<void> {
    for (const client of this.#clients) client.kill("SIGTERM");
    for (const client of this.#clients) {
      const counted: Counted = JSON.parse(await client.line());
      const { lost, failed, sent, kept, fresh } = counted;
      const told = `${lost} lost, failed: ${failed.join("; ")}\n${this.#drops()}`;
      assert.deepEqual({ lost, failed }, { lost: 0, failed: [] }, told);
      assert.ok(sent > 1000 && kept > 1000 && fresh > 20, JSON.stringify(counted));
    }
  }

  /** What the nodes' programs and the machine have dropped, to tell why something was lost. */
  #drops(): string {
    const nodes = [1, 2, 3].map((i) => {
      const { counters } = this.cluster.node(i).maps;
      const found = reasons.flatMap(({ name, kind }, index) => {
        const packets = counters.get(index)?.reduce((sum, cpu) => sum + cpu.packets, 0n) ?? 0n;
        return packets > 0n && (kind === "drop" || kind === "event") ? `${name} ${packets}` : [];
      });
      return `node${i}: ${found.join(", ")}`;
    });
    return [...nodes, `the machine's backlogs: ${backlogDrops() - this.#backlogDrops}`].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of [...this.#clients, ...this.#servers]) {
      await one.end("SIGKILL").catch(() => {});
    }
    await this.cluster[Symbol.asyncDispose]();
  }
}
