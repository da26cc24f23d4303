/**
 * Drives the kit that brings up a real Kubernetes on one machine: its control plane in the root namespaces, its nodes in
 * namespaces of their own. Every cluster that is brought up here has a directory, a name prefix and a network of its own
 * (see place.ts), and all of it goes away again with `down()`.
 *
 * Limitation: the kit runs on Debian 12, amd64, as root; see its README.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { KIT } from "../../support/kube_kit.ts";
import { Outside } from "./outside.ts";
import { claimPlace, type Place, releasePlace } from "./place.ts";
import { run, type Said } from "./run.ts";

/** Why the cluster tests cannot run here; undefined when they can. */
export function whyNot(): string | undefined {
  if (!existsSync(join(KIT, "up-control-plane.sh"))) {
    return `no Kubernetes kit at ${KIT}. It is a set of scripts with Kubernetes' own binaries: put one there, or name ` +
      `its directory in PCNK_KUBE_KIT (docs/cluster-tests.md says what is expected of it)`;
  }
  if (Deno.build.arch !== "x86_64") return "the Kubernetes kit has binaries for x86_64 only";
  if (process.getuid?.() !== 0) return "the Kubernetes kit needs root";
  return undefined;
}

/** What `up-nodes.sh` reads from its environment; see its head. */
interface NodeOptions {
  CNI_TEMPLATE?: string;
  CNI_BIN?: string;
  CNI_BIN_ONLY?: "1";
  KUBE_PROXY?: "0" | "1";
  NODE_ROUTES?: "0" | "1";
  NODE_MASQ?: "0" | "1";
  NODE_DIRS?: string;
  NODE_HOOK?: string;
  EXTRA_IMAGES?: string;
  KUBELET_ARGS?: string;
  KUBELET_V?: string;
}

/** A provider that installs itself, and nothing of the kit's own network. */
export const BARE: NodeOptions = {
  CNI_TEMPLATE: "none",
  KUBE_PROXY: "0",
  NODE_ROUTES: "0",
  NODE_MASQ: "0",
};

/** What ends a component of the control plane or brings it back takes at most this long. */
const SCRIPT_MS = 150_000;

/** Characters of a log's line that are shown. */
const LONGEST_LINE = 300;

interface RawPod {
  metadata: { namespace: string; name: string; deletionTimestamp?: string };
  status: { containerStatuses?: { ready: boolean; containerID: string }[] };
}

/** One cluster: its scripts, its kubectl, its nodes. */
export class Kit {
  private constructor(readonly place: Place, readonly log: (line: string) => void) {}

  /** Unpacks binaries and images and takes a place on this machine. Ten seconds the first time. */
  static async setUp(log: (line: string) => void = () => {}): Promise<Kit> {
    const kit = new Kit(await claimPlace((place) => new Kit(place, log).takeDown()), log);
    try {
      await kit.script("setup.sh", {});
    } catch (error) {
      await kit.down();
      throw error;
    }
    return kit;
  }

  /** `192.168.100.1`: where the API server is, and the far end of the nodes' uplinks. */
  get apiServer(): string {
    return `${this.place.net}.1`;
  }

  get kubeconfig(): string {
    return join(this.place.dir, "pki/admin.kubeconfig");
  }

  /** Bridge of the nodes' uplinks in the root namespace. */
  get bridge(): string {
    return `${this.place.prefix}br0`;
  }

  nodeName(index: number): string {
    return `${this.place.prefix}n${index}`;
  }

  nodeAddress(index: number): string {
    return `${this.place.net}.1${index}`;
  }

  /** The uplink's name inside a node. */
  get uplink(): string {
    return `${this.place.prefix}e0`;
  }

  /** Starts what does not run of the control plane. */
  async controlPlaneUp(): Promise<void> {
    await this.script("up-control-plane.sh", {});
  }

  /** A crash of components; `controlPlaneUp` brings them back. */
  async crash(...components: string[]): Promise<void> {
    await this.script("down-control-plane.sh", {}, components);
  }

  /** Brings nodes up, or what does not run of them. */
  async nodesUp(indexes: readonly number[], options: NodeOptions = BARE): Promise<void> {
    await this.script("up-nodes.sh", { ...options, NODES: indexes.join(" ") });
  }

  /** Takes nodes down; `keep`: a power cut, the disk and the Node object stay. */
  async nodesDown(indexes: readonly number[], { keep = false } = {}): Promise<void> {
    const env: Record<string, string> = { NODES: indexes.join(" ") };
    if (keep) env.KEEP = "1";
    await this.script("down-nodes.sh", env);
  }

  /** Words that start `command` as a process of a node. */
  nodeCommand(index: number, command: readonly string[]): string[] {
    return [join(KIT, "in-node.sh"), String(index), ...command];
  }

  /** Runs a command in a node; throws when it fails. */
  async inNode(index: number, command: readonly string[], ms = 30_000): Promise<string> {
    return (await run(this.nodeCommand(index, command), { env: this.env, ms })).stdout;
  }

  /** The same, and the caller judges the exit code. */
  tryInNode(index: number, command: readonly string[], ms = 30_000): Promise<Said> {
    return run(this.nodeCommand(index, command), { env: this.env, ms, anyCode: true });
  }

  /** Starts a command in a node that goes on. */
  spawnInNode(index: number, command: readonly string[]): Deno.ChildProcess {
    const [program, ...args] = this.nodeCommand(index, command);
    return new Deno.Command(program!, {
      args,
      env: this.env,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** Runs the cluster's own kubectl; throws with what it said when it fails. */
  async kubectl(args: readonly string[], options: { input?: string; ms?: number } = {}) {
    const { stdout } = await run([this.kubectlPath, "--kubeconfig", this.kubeconfig, ...args], {
      env: this.env,
      ms: options.ms ?? 60_000,
      input: options.input,
    });
    return stdout;
  }

  /** The same, and the caller judges the exit code. */
  tryKubectl(args: readonly string[], options: { input?: string; ms?: number } = {}) {
    return run([this.kubectlPath, "--kubeconfig", this.kubeconfig, ...args], {
      env: this.env,
      ms: options.ms ?? 60_000,
      input: options.input,
      anyCode: true,
    });
  }

  /** Addresses of pods in the pods' network, on one node or on all. */
  async podAddresses(node?: number): Promise<string[]> {
    const { items } = JSON.parse(await this.kubectl(["get", "pods", "-A", "-o", "json"]));
    return (items as { spec: Record<string, unknown>; status: { podIP?: string } }[])
      .filter(({ spec }) => !spec.hostNetwork)
      .filter(({ spec }) => node === undefined || spec.nodeName === this.nodeName(node))
      .map(({ status }) => status.podIP ?? "none yet").sort();
  }

  /**
   * Ids of the containers of pods on a node, by namespace and pod; of pods that are ready and not on their way out. After
   * a boot the API tells those of before it, as ready, until kubelet has looked at them.
   */
  async readyContainers(node: number): Promise<Map<string, string>> {
    const field = `spec.nodeName=${this.nodeName(node)}`;
    const list = ["get", "pods", "-A", "--field-selector", field, "-o", "json"];
    const { items } = JSON.parse(await this.kubectl(list));
    return new Map(
      (items as RawPod[])
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        .filter(({ status }) => status.containerStatuses?.every(({ ready }) => ready))
        .map(({ metadata: { namespace, name }, status }) => {
          const ids = status.containerStatuses!.map(({ containerID }) => containerID);
          return [`${namespace}/${name}`, ids.join()];
        }),
    );
  }

  get kubectlPath(): string {
    return join(this.place.dir, "bin/kubectl");
  }

  /**
   * Writes an object's status, as a controller does. By PUT: kubectl has no word for it before 1.24, and a merge patch of a
   * Service's status crashes the kit's API server. `path`: of the API.
   */
  async writeStatus(path: string, status: unknown): Promise<void> {
    const object = JSON.parse(await this.kubectl(["get", "--raw", path]));
    const input = JSON.stringify({ ...object, status });
    await this.kubectl(["replace", "--raw", `${path}/status`, "-f", "-"], { input });
  }

  /** Gives an image to a node's containerd. */
  async importImage(index: number, tar: string): Promise<void> {
    // Under its tag, and by its digest as docs/getting-started.md says.
    const byDigest = ["--base-name", "localhost/pcnk", "--digests"];
    await this.inNode(index, ["ctr", "-n", "k8s.io", "images", "import", ...byDigest, tar], 90_000);
  }

  /** A file below the node's own directories (`/run` is not among them), as seen from outside. */
  nodeFile(index: number, path: string): string {
    return join(this.place.dir, "run", this.nodeName(index), "root", path);
  }

  /** The last lines of a log: `kubelet`, `containerd` (of a node), or a component of the control plane. */
  logTail(name: string, lines: number, index?: number): string {
    const folder = index === undefined ? "" : this.nodeName(index);
    const file = join(this.place.dir, "logs", folder, `${name}.log`);
    if (!existsSync(file)) return `(no ${file})`;
    const all = readFileSync(file, "utf8").trimEnd().split("\n");
    // A Go program that died says why before its stack.
    const death = all.findIndex((line) => /^(?:fatal error|panic|SIG[A-Z]+):/.test(line));
    const shown = death < 0 ? all.slice(-lines) : all.slice(death, death + lines);
    return shown.map((line) => line.slice(0, LONGEST_LINE)).join("\n");
  }

  /** Runs one of the kit's scripts to its end. */
  async script(name: string, env: Record<string, string>, args: string[] = []): Promise<string> {
    return await this.timed(`${name} ${args.join(" ")}`, async () => {
      const options = { env: { ...this.env, ...env }, ms: SCRIPT_MS };
      return (await run([join(KIT, name), ...args], options)).stdout;
    });
  }

  /** Tells how long something took. */
  async timed<T>(what: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const result = await work();
    this.log(`${what.trim()} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
    return result;
  }

  /** Takes all of it away: nodes, control plane, files. Goes on after a failure and tells it in the end. */
  async down(): Promise<void> {
    try {
      await this.takeDown();
    } finally {
      releasePlace(this.place);
    }
  }

  private async takeDown(): Promise<void> {
    const failures: unknown[] = [];
    await Outside.remove(this).catch((error) => failures.push(error));
    for (const script of ["down-nodes.sh", "down-control-plane.sh"]) {
      try {
        await this.script(script, {});
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "the cluster is not all gone");
  }

  private get env(): Record<string, string> {
    const { dir, prefix, net } = this.place;
    return { KUBE_KIT_DIR: dir, KUBE_KIT_PREFIX: prefix, KUBE_KIT_NET: net, NO_COLOR: "1" };
  }
}

/** What makes the network of the cluster (provider.ts). */
export interface Provider {
  name: string;
  nodeOptions: NodeOptions;
  /** Installs it on a cluster whose nodes are up, and waits until they are Ready. */
  start(kit: Kit, nodes: readonly number[]): Promise<void>;
  /** Waits until nodes that came later, or again, are Ready. */
  join(kit: Kit, nodes: readonly number[]): Promise<void>;
  /** What it has to say after a failure. */
  report(kit: Kit): Promise<string>;
}
