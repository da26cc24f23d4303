/**
 * A real kubelet with containerd on one node, whose CNI plugins are clocked: each call's start and end is written down by
 * cni_clock.c, which stands before the plugin. The node's network is pcnk's own conflist, or the same without pcnk.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { root, run as compile } from "../../src/build/steps.ts";
import { BARE, Kit } from "../cluster/support/kit.ts";
import { until } from "../cluster/support/poll.ts";
import { pcnk } from "./subject.ts";

const PLUGINS = ["bridge", "portmap", "pcnk"];
/** The reference plugins that the chain, IPAM and the runtime call. */
const REFERENCE = ["bridge", "host-local", "loopback", "portmap"];
const NODE = 1;

/** One call of a plugin, ns. */
interface Call {
  verb: string;
  containerId: string;
  plugin: string;
  start: number;
  end: number;
}

/** A whole chain's ADD, ns. */
export interface Span {
  start: number;
  end: number;
}

/** The node under measurement. */
export class KubeletNode {
  #pods = 0;
  /** The plugin that ends the chain now. */
  #last = "";

  private constructor(private readonly kit: Kit, private readonly confDir: string) {}

  /** Brings a control plane and one node up: half a minute. */
  static async create(): Promise<KubeletNode> {
    const kit = await Kit.setUp();
    try {
      const confDir = join(kit.place.dir, "bench-cni");
      mkdirSync(confDir);
      const plugins = join(kit.place.dir, "bench-bin");
      installPlugins(plugins);
      await kit.controlPlaneUp();
      // The agent writes its conflist elsewhere, so that it does not put it back when another is tried.
      const flags = `--node-name $NODE --kubeconfig $KUBECONFIG --cni-conf-dir ${confDir}`;
      await kit.nodesUp([NODE], {
        ...BARE,
        CNI_BIN: plugins,
        CNI_BIN_ONLY: "1",
        // By default kubelet asks five times a second at most: fifty pods' status would take longer than their start.
        KUBELET_ARGS: "--kube-api-qps=200 --kube-api-burst=400 --event-qps=0",
        NODE_HOOK: `exec ${plugins}/pcnk agent ${flags} --cgroup /sys/fs/cgroup/unified`,
      });
      const node = new KubeletNode(kit, confDir);
      await node.#clock();
      return node;
    } catch (error) {
      await kit.down();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.kit.down();
  }

  /** From now on pods get the chain with pcnk, or the same without it. */
  async use(withPcnk: boolean): Promise<void> {
    const own = join(this.confDir, "10-pcnk.conflist");
    await until(
      "the agent has written its conflist",
      60_000,
      () => Promise.resolve(existsSync(own)),
    );
    const list = JSON.parse(readFileSync(own, "utf8"));
    if (!withPcnk) {
      list.plugins = list.plugins.filter(({ type }: { type: string }) => type !== "pcnk");
    }
    const file = this.kit.nodeFile(NODE, "/etc/cni/net.d/10-bench.conflist");
    writeFileSync(`${file}.new`, JSON.stringify(list));
    renameSync(`${file}.new`, file);
    this.#last = list.plugins.at(-1).type;
    await this.kit.kubectl(["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s"]);
    // containerd reads the file by an inotify event: one pod after another until its chain is the new one.
    await until("containerd uses the new conflist", 60_000, async () => {
      const [name] = await this.#create(1);
      await this.#ready([name!]);
      const calls = this.#calls("ADD");
      await this.clear();
      const { containerId } = calls.at(-1)!;
      return calls.some((call) => call.containerId === containerId && call.plugin === "pcnk") ===
        withPcnk;
    });
  }

  /** Starts one pod and waits until it is ready; its ADD. */
  async addOne(): Promise<Span> {
    const before = this.#calls("ADD").length;
    const names = await this.#create(1);
    await this.#ready(names);
    return this.#spans(before, 1)[0]!;
  }

  /** Starts `count` pods at once, as far as kubelet can tell; their ADDs. */
  async addMany(count: number): Promise<Span[]> {
    const before = this.#calls("ADD").length;
    const signal = (name: string) =>
      this.kit.inNode(NODE, ["sh", "-c", `kill -${name} $(pgrep -x kubelet)`]);
    // Held until all of them are known to the API server: one watch event after the other is no burst.
    await signal("STOP");
    let names: string[] = [];
    try {
      names = await this.#create(count);
    } finally {
      await signal("CONT");
    }
    // All the way: deleting pods whose containers are about to start keeps kubelet busy for minutes.
    await this.#ready(names);
    return this.#spans(before, count);
  }

  /** Deletes all pods and waits until their networks are gone. */
  async clear(): Promise<void> {
    const words = ["delete", "pods", "--all", "--grace-period=1", "--wait=true"];
    await this.kit.kubectl(words, { ms: 180_000 });
  }

  /** Puts the clock before each plugin. */
  async #clock(): Promise<void> {
    const clock = join(root, "dist/bench/cni-clock");
    mkdirSync(dirname(clock), { recursive: true });
    const source = join(root, "tests/bench/cni_clock.c");
    compile("gcc", ["-O2", "-Wall", "-Wextra", "-Werror", "-o", clock, source]);
    for (const name of PLUGINS) {
      const file = `/opt/cni/bin/${name}`;
      await this.kit.inNode(NODE, ["mv", file, `/opt/cni/bin/real-${name}`]);
      await this.kit.inNode(NODE, ["install", "-m", "755", clock, file]);
    }
  }

  /** Makes pods that run on the node, without waiting for them. */
  async #create(count: number): Promise<string[]> {
    const names = Array.from({ length: count }, () => `bench-${++this.#pods}`);
    const items = names.map((name) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: {
        nodeName: this.kit.nodeName(NODE),
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        terminationGracePeriodSeconds: 1,
        containers: [{ name: "c", image: "localhost/pause:1", imagePullPolicy: "Never" }],
      },
    }));
    const input = JSON.stringify({ apiVersion: "v1", kind: "List", items });
    // The default service account is made a moment after the API server is there.
    await until("pods are made", 20_000, () => this.kit.kubectl(["create", "-f", "-"], { input }));
    return names;
  }

  async #ready(names: string[]): Promise<void> {
    const pods = names.map((name) => `pod/${name}`);
    await this.kit.kubectl(["wait", "--for=condition=Ready", ...pods, "--timeout=120s"], {
      ms: 125_000,
    });
  }

  /** Chains that are complete among the ADDs after the first `skip` calls. */
  #spans(skip: number, count: number): Span[] {
    const chains = new Map<string, Call[]>();
    for (const call of this.#calls("ADD").slice(skip)) {
      chains.set(call.containerId, [...chains.get(call.containerId) ?? [], call]);
    }
    return [...chains.values()]
      .filter((calls) => calls.some(({ plugin }) => plugin === this.#last))
      .map((calls) => ({
        start: Math.min(...calls.map(({ start }) => start)),
        end: Math.max(...calls.map(({ end }) => end)),
      })).slice(0, count);
  }

  #calls(verb: string): Call[] {
    const file = this.kit.nodeFile(NODE, "/opt/cni/bin/cni-clock.log");
    if (!existsSync(file)) return [];
    return readFileSync(file, "utf8").split("\n").slice(0, -1).map((line) => {
      const [verb = "", containerId = "", plugin = "", start, end] = line.split(" ");
      return { verb, containerId, plugin, start: Number(start), end: Number(end) };
    }).filter((call) => call.verb === verb);
  }
}

/** A folder with the executable and the reference plugins that are needed, whatever else the machine's own folder holds. */
function installPlugins(folder: string): void {
  mkdirSync(folder);
  copyFileSync(pcnk(), join(folder, "pcnk"));
  for (const name of REFERENCE) copyFileSync(join("/usr/lib/cni", name), join(folder, name));
}
