/**
 * Nodes on one network, made of namespaces, without pods and without eBPF: what the kernel does by itself.
 *
 *   n1 eth0 192.168.50.11 ─┐                      each with a bridge pcnk0 10.244.N.1/24, the host side of its
 *   n2 eth0 192.168.50.12 ─┤ bridge, 192.168.50.1   podCIDR: what answers there is reached as a pod is
 *   n3 eth0 192.168.50.13 ─┘
 */
import assert from "node:assert/strict";
import { closeFd, openFile } from "../../../src/linux/libc.ts";
import { ping, type PingResult } from "../../../src/linux/ping.ts";
import { writeSysctl } from "../../../src/linux/sysctl.ts";
import { TunnelNetlink, type VxlanLink } from "../../../src/linux/rtnetlink_tunnel.ts";
import { planRouting } from "../../../src/routing/plan.ts";
import type { RemotesMap } from "../../../src/agent/routing/read_kernel.ts";
import { Routing, type RoutingReport } from "../../../src/agent/routing/routing.ts";
import type {
  Remote,
  RoutingNode,
  RoutingPlan,
  RoutingSettings,
} from "../../../src/routing/types.ts";
import { Sandbox, type TestNetns } from "../../support/sandbox.ts";
import { readUplink } from "../../support/uplink.ts";

export const DEVICE = "pcnk_vxlan";
export const BRIDGE = "pcnk0";

/** Settings as the agent's defaults are. */
export function settings(change: Partial<RoutingSettings> = {}): RoutingSettings {
  const overlay = { device: DEVICE, vni: 42, port: 4789, checksumOffload: true };
  return { routing: "overlay", overlay, ...change };
}

/** The map `remotes`, without a kernel. */
class FakeRemotes implements RemotesMap {
  readonly entries = new Map<string, Remote>();
  read = () => new Map(this.entries);
  fingerprint = () => JSON.stringify([...this.entries]);
  writer = () => (remote: Remote) => void this.entries.set(remote.prefix, remote);
  delete = (prefix: string) => void this.entries.delete(prefix);
}

/** One node and what it believes of the cluster. */
export class TestNode {
  readonly name: string;
  readonly address: string;
  readonly podCIDR: string;
  /** The host-side address of its podCIDR. */
  readonly gateway: string;
  readonly remotes = new FakeRemotes();
  readonly routing: Routing;
  readonly tunnel: TunnelNetlink;
  settings = settings();

  constructor(world: World, readonly index: number, readonly netns: TestNetns) {
    this.name = `n${index}`;
    this.address = `192.168.50.${10 + index}`;
    this.podCIDR = `10.244.${index}.0/24`;
    this.gateway = `10.244.${index}.1`;
    this.routing = new Routing({
      node: this.name,
      device: DEVICE,
      remotes: this.remotes,
      netnsPath: netns.path,
    });
    world.sandbox.defer(() => this.routing.close());
    this.tunnel = TunnelNetlink.open(netns.path);
    world.sandbox.defer(() => this.tunnel.close());
  }

  /** This node as the cluster sees it. */
  object(change: Partial<RoutingNode> = {}): RoutingNode {
    return { name: this.name, internalIPs: [this.address], podCIDRs: [this.podCIDR], ...change };
  }

  plan(nodes: readonly RoutingNode[]): RoutingPlan {
    const uplink = readUplink(this.netns.nl, "eth0");
    return planRouting({
      own: this.name,
      nodes,
      settings: this.settings,
      uplinks: uplink === undefined ? [] : [uplink],
    });
  }

  /** Plans and applies; whatever is wrong fails the test. */
  apply(nodes: readonly RoutingNode[]): RoutingReport {
    const report = this.routing.reconcile(this.plan(nodes));
    assert.deepEqual(report.failures.map(({ message }) => message), []);
    return report;
  }

  /** The overlay device. */
  vxlan(): VxlanLink {
    const found = this.tunnel.vxlans().find(({ name }) => name === DEVICE);
    assert.ok(found, `${this.name} has no ${DEVICE}`);
    return found;
  }

  ping(address: string, options: { source?: string; size?: number } = {}): Promise<PingResult> {
    const dontFragment = options.size !== undefined;
    const netnsPath = this.netns.path;
    return ping({ netnsPath, address, timeoutMs: 2000, dontFragment, ...options });
  }

  /** Pings, and fails the test when no answer comes. */
  async reaches(address: string, options: { source?: string; size?: number } = {}) {
    const result = await this.ping(address, options);
    assert.ok(result.ok, `${this.name} → ${address}: ${JSON.stringify(result)}`);
  }

  /** Packets that the overlay device has sent. */
  sent(): number {
    return counter(this.netns.path, "tx_packets");
  }

  sysctl(name: string, value: string) {
    writeSysctl(name, value, this.netns.path);
  }
}

/** What `ip -s link` says of the overlay device. */
function counter(netnsPath: string, name: string): number {
  const { stdout } = new Deno.Command("nsenter", {
    args: [`--net=${netnsPath}`, "ip", "-s", "-j", "link", "show", DEVICE],
  }).outputSync();
  const [link] = JSON.parse(new TextDecoder().decode(stdout));
  return name === "tx_packets" ? link.stats64.tx.packets : link.stats64.rx.packets;
}

/** The network and its nodes; `using` takes all away. */
export class World {
  readonly sandbox = new Sandbox();
  readonly fabric: TestNetns;
  readonly nodes: TestNode[] = [];

  constructor(count = 3) {
    try {
      this.fabric = this.sandbox.netns();
      this.fabric.nl.addLink({ kind: "bridge", name: "fabric", forwardDelay: 0, up: true });
      const ifindex = this.fabric.nl.link("fabric")!.index;
      this.fabric.nl.addAddr({ ifindex, address: "192.168.50.1", prefixLength: 24 });
      writeSysctl("net.ipv4.ip_forward", "1", this.fabric.path);
      for (let i = 1; i <= count; i++) this.join(i);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Adds a node; it does nothing yet. */
  join(index: number): TestNode {
    const netns = this.sandbox.netns();
    const { nl } = netns;
    const netnsFd = openFile(netns.path);
    try {
      this.fabric.nl.addLink({ kind: "veth", name: `n${index}`, peer: { name: "eth0", netnsFd } });
    } finally {
      closeFd(netnsFd);
    }
    const master = this.fabric.nl.link("fabric")!.index;
    this.fabric.nl.setLink(this.fabric.nl.link(`n${index}`)!.index, { master, up: true });
    const eth0 = nl.link("eth0")!.index;
    nl.setLink(eth0, { up: true });
    const node = new TestNode(this, index, netns);
    nl.addAddr({ ifindex: eth0, address: node.address, prefixLength: 24 });
    nl.addRoute({ destination: "0.0.0.0/0", gateway: "192.168.50.1", ifindex: eth0 });
    nl.addLink({ kind: "bridge", name: BRIDGE, forwardDelay: 0, up: true });
    const bridge = nl.link(BRIDGE)!.index;
    nl.addAddr({ ifindex: bridge, address: node.gateway, prefixLength: 24 });
    this.nodes.push(node);
    return node;
  }

  /** The nodes as the cluster sees them. */
  objects(): RoutingNode[] {
    return this.nodes.map((node) => node.object());
  }

  /** Has all nodes apply the same cluster. */
  applyAll(objects: readonly RoutingNode[] = this.objects()): RoutingReport[] {
    return this.nodes.map((node) => node.apply(objects));
  }

  [Symbol.dispose](): void {
    this.sandbox[Symbol.dispose]();
  }
}
