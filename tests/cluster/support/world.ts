/**
 * The cluster that the tests share: two nodes, the world outside, and a namespace `t1` with a web server and an idle pod
 * on each node, for tests that change nothing. A test that changes something makes objects of its own.
 */
import { Kit, type Provider } from "./kit.ts";
import { Load, loadCommand, type LoadTarget } from "./load.ts";
import { Namespace, type Pod } from "./namespace.ts";
import { Outside } from "./outside.ts";
import { until } from "./poll.ts";
import { snapshot } from "./snapshot.ts";
import { Vantage } from "./vantage.ts";
import { idlePod, service, web } from "./workload.ts";

/** The nodes that are always there. */
export const NODES = [1, 2] as const;

/** The shared cluster. */
export class World {
  readonly outside: Outside;
  readonly provider: Provider;
  readonly base: Namespace;
  /** What each node was like before the provider came. */
  readonly before: ReadonlyMap<number, string[]>;
  /** The web pods of `base`, one on each node, in the nodes' order. */
  webPods: Pod[] = [];
  /** ClusterIP of `base`'s service: TCP 80, UDP 81. */
  webIP = "";
  /** Its NodePorts. */
  webPort = { http: 0, udp: 0 };

  readonly #borrowed: Namespace[] = [];

  private constructor(
    readonly kit: Kit,
    parts: Pick<World, "outside" | "provider" | "base" | "before">,
  ) {
    this.before = parts.before;
    this.outside = parts.outside;
    this.provider = parts.provider;
    this.base = parts.base;
  }

  /** Brings all of it up: about a minute. */
  static async create(provider: Provider, log: (line: string) => void): Promise<World> {
    const kit = await Kit.setUp(log);
    try {
      await kit.controlPlaneUp();
      await kit.nodesUp(NODES, provider.nodeOptions);
      const outside = await Outside.create(kit);
      for (const node of NODES) await outside.teach(node);
      const before = new Map<number, string[]>();
      for (const node of NODES) before.set(node, await snapshot(kit, node));
      await kit.timed(`${provider.name} is there`, () => provider.start(kit, NODES));
      const base = await Namespace.create(kit);
      const world = new World(kit, { outside, provider, base, before });
      await kit.timed("pods run", () => world.populate());
      return world;
    } catch (error) {
      await kit.down();
      throw error;
    }
  }

  /** Brings nodes up beside those that are, or again, and waits until they are Ready. */
  async bringUp(nodes: readonly number[]): Promise<void> {
    await this.kit.nodesUp(nodes, this.provider.nodeOptions);
    for (const node of nodes) await this.outside.teach(node);
    await this.provider.join(this.kit, nodes);
  }

  /** A namespace of the test that is running. */
  async namespace(): Promise<Namespace> {
    const made = await Namespace.create(this.kit);
    this.#borrowed.push(made);
    return made;
  }

  /** The test is over: its namespaces go. */
  async testEnded(): Promise<void> {
    for (const namespace of this.#borrowed.splice(0)) await namespace.remove();
  }

  /** Waits until namespaces that were removed are gone, pods and all. */
  async settled(): Promise<void> {
    await until("removed namespaces are gone", 90_000, async () => {
      const path = '{.items[?(@.status.phase=="Terminating")].metadata.name}';
      return await this.kit.kubectl(["get", "ns", "-o", `jsonpath=${path}`]) === "";
    });
  }

  /** Takes all of it away. */
  async close(): Promise<void> {
    await this.kit.down();
  }

  /** Fills the shared namespace. */
  async populate(): Promise<void> {
    const { base, kit } = this;
    const clients = NODES.map((node) => idlePod(clientName(node), kit.nodeName(node)));
    await base.apply(web({ name: "web", replicas: NODES.length, pod: onePerNode("web") }));
    await base.apply(service("web", { type: "NodePort" }), ...clients);
    await base.rolledOut("web");
    await base.ready(...NODES.map(clientName));
    await this.refresh();
  }

  /** Empties the shared namespace and waits until no pod with an address of its own is left anywhere. */
  async depopulate(): Promise<void> {
    await this.base.kubectl(["delete", "deployment,pod,service", "--all", "--wait=true"], {
      ms: 90_000,
    });
    await this.settled();
    await until("no pod is left", 60_000, async () => {
      return (await this.kit.podAddresses()).length === 0;
    });
  }

  /** Reads names and addresses of `base` anew; after a node's pods were made anew. */
  async refresh(): Promise<void> {
    const { base } = this;
    this.webPods = await base.pods("web");
    this.webIP = await base.clusterIP("web");
    this.webPort = { http: await base.nodePort("web"), udp: await base.nodePort("web", "udp") };
  }

  /** The idle pod on a node. */
  client(node: number): Vantage {
    return Vantage.pod(this.base, clientName(node), this.kit);
  }

  node(index: number): Vantage {
    return Vantage.node(index, this.kit);
  }

  get outsider(): Vantage {
    return Vantage.outside(this.outside);
  }

  get webNames(): string[] {
    return this.webPods.map(({ name }) => name);
  }

  /** A load by a process of a node. */
  loadFromNode(index: number, target: LoadTarget): Promise<Load> {
    return Load.start(this.kit.spawnInNode(index, loadCommand(target)));
  }

  loadFromOutside(target: LoadTarget): Promise<Load> {
    return Load.start(this.outside.spawn(loadCommand(target)));
  }

  /** A load by a process in the network namespace of a pod. */
  async loadFromPod(pod: Pod, target: LoadTarget): Promise<Load> {
    const index = NODES.find((node) => this.kit.nodeName(node) === pod.node)!;
    const path = await this.podNetns(index, pod.ip);
    const command = ["nsenter", `--net=${path}`, "--", ...loadCommand(target)];
    return await Load.start(this.kit.spawnInNode(index, command));
  }

  /** The idle pod of a node, with its address. */
  async clientPod(node: number): Promise<Pod> {
    const [pod] = await this.base.pods(clientName(node));
    if (!pod) throw new Error(`no pod ${clientName(node)}`);
    return pod;
  }

  /** Path of a pod's network namespace inside its node. */
  async podNetns(node: number, ip: string): Promise<string> {
    const script = `for n in /run/netns/cni-*; do
      nsenter --net=$n ip -4 -o addr show | grep -q " $1/" && echo $n && exit; done; exit 1`;
    return (await this.kit.inNode(node, ["sh", "-c", script, "sh", ip])).trim();
  }
}

const clientName = (node: number) => `client-${node}`;

/** Pod fields: exactly one on each node, whatever else runs there. */
function onePerNode(app: string) {
  return {
    topologySpreadConstraints: [{
      maxSkew: 1,
      topologyKey: "kubernetes.io/hostname",
      whenUnsatisfiable: "DoNotSchedule",
      labelSelector: { matchLabels: { app } },
    }],
  };
}
