/**
 * Three nodes and a host outside, made of namespaces:
 *
 *   outside 198.51.100.2 ── router ── 192.0.2.1 ─┬─ node1 192.0.2.11 ── pods 10.244.1.2, 10.244.1.3
 *                                                ├─ node2 192.0.2.12 ── pod  10.244.2.2
 *                                                └─ node3 192.0.2.13 ── pod  10.244.3.2
 *
 * The router is also the switch between the nodes, and knows no pod: what leaves a node with a pod's address does not come
 * back. No agent runs: programs are attached and maps filled here, routes are those that the agent would plan.
 */
import type { AttachMode } from "../../../src/bpf/attach.ts";
import type { DataPlane } from "../../../src/bpf/dataplane.ts";
import type { InstallOptions } from "../../../src/bpf/install.ts";
import {
  NODE_ADDR_FLAG,
  type NodeConfig,
  nodeConfig,
  SCOPE,
  type Service,
  vtep as vtepCodec,
  vtepKey,
} from "../../../src/bpf/layout.ts";
import { u32 } from "../../../src/bpf/codec.ts";
import { FORMER_LAYOUTS } from "../../../src/bpf/former_layouts.ts";
import { BpfMap } from "../../../src/bpf/map.ts";
import { pinnedVersions } from "../../../src/bpf/map_versions.ts";
import { mapPin } from "../../../src/bpf/pins.ts";
import { keyOf, remotesMap } from "../../../src/agent/network/remotes.ts";
import { nodeConfigOf } from "../../../src/agent/network/datapath_config.ts";
import { writeSysctl } from "../../../src/linux/sysctl.ts";
import { planRouting } from "../../../src/routing/plan.ts";
import { Routing } from "../../../src/agent/routing/routing.ts";
import type { RoutingMode } from "../../../src/routing/types.ts";
import { Sandbox, type TestNetns } from "../../support/sandbox.ts";
import { readUplink } from "../../support/uplink.ts";
import { Traffic } from "../lbrp/traffic.ts";
import { EVERYWHERE, Plane, type Proto } from "../support/plane.ts";

export const OUTSIDE = "198.51.100.2";
/** The router's address towards the nodes. */
const ROUTER = "192.0.2.1";
const NODES = [1, 2, 3] as const;
const VNI = 42;
const DEVICE = "pcnk_vxlan";

/** The layout of a map that a former release may have made. */
function formerOf(bpffs: string, map: "config" | "vteps") {
  const { version } = pinnedVersions(bpffs).find(({ name }) => name === map)!;
  return FORMER_LAYOUTS[map]?.[version];
}

function setConfig(bpffs: string, value: NodeConfig): void {
  const codec = formerOf(bpffs, "config")?.value ?? nodeConfig;
  using map = BpfMap.openPinned(mapPin(bpffs, "config"), u32, codec);
  map.set(0, value);
}

function setVtep(bpffs: string, i: number): void {
  const former = formerOf(bpffs, "vteps");
  using map = BpfMap.openPinned(mapPin(bpffs, "vteps"), vtepKey, former?.value ?? vtepCodec);
  map.set({ addr: `192.0.2.1${i}` }, former ? 0 : vtep(i));
}

interface Host extends TestNetns {
  readonly addr: string;
}

/** What the other nodes know of node `i`. */
export const vtep = (i: number) => ({
  pod_cidr: `10.244.${i}.0`,
  pod_mask: "255.255.255.0",
  node_addr: `192.0.2.1${i}`,
});

/** How the cluster is built. */
export interface ClusterOptions {
  mode: AttachMode;
  routing: RoutingMode;
  /** Of the devices of nodes to the router; default 1500. */
  mtu?: number;
  masquerade?: boolean;
  /** Another installation than today's. */
  install?: (options: InstallOptions) => DataPlane;
}

/** A node with its data plane. */
export class ClusterNode extends Plane {
  readonly addr: string;
  readonly gateway: string;
  readonly #bridge: number;
  readonly #routing: Routing;

  constructor(
    private readonly sandbox: Sandbox,
    readonly self: TestNetns,
    readonly number: number,
    private readonly options: ClusterOptions,
    readonly uplink: number,
  ) {
    super(sandbox, self, options.mode, options.install);
    this.addr = `192.0.2.1${number}`;
    this.gateway = `10.244.${number}.1`;
    const { mtu = 1500, routing } = options;
    this.#bridge = this.bridge(this.gateway, routing === "overlay" ? mtu - 50 : mtu);
    this.#routing = new Routing({
      node: `node${number}`,
      device: DEVICE,
      netnsPath: self.path,
      remotes: remotesMap({
        map: this.maps.remotes,
        nl: self.nl,
        device: DEVICE,
        vni: VNI,
        uplink: () => uplink,
      }),
    });
    sandbox.defer(() => this.#routing.close());
  }

  /** Routes, maps and programs, as the agent would do it. */
  start(): void {
    this.route();
    this.attach(this.uplink, "ingress", "k8sd_from_uplink");
    this.attach(this.uplink, "egress", "k8sd_to_uplink");
    const overlay = this.self.nl.link(DEVICE);
    if (overlay) this.attach(overlay.index, "ingress", "k8sd_from_overlay");
  }

  /** Brings routes and what programs know of nodes up to date. */
  route(): void {
    const { self: { nl }, uplink, maps, number } = this;
    const { routing, masquerade = true } = this.options;
    const overlay = { device: DEVICE, vni: VNI, port: 4789, checksumOffload: true };
    const plan = planRouting({
      own: `node${number}`,
      nodes: NODES.map((i) => ({
        name: `node${i}`,
        internalIPs: [`192.0.2.1${i}`],
        podCIDRs: [`10.244.${i}.0/24`],
      })),
      settings: { routing, overlay },
      uplinks: [readUplink(nl, uplink)!],
    });
    // Entries of `remotes` name a device that the first round makes.
    for (const _ of [1, 2]) {
      const { failures, problems } = this.#routing.reconcile(plan);
      if (failures.length + problems.length > 0) {
        throw new Error(JSON.stringify([failures, problems]));
      }
    }
    const settings = {
      timeouts: { tcpNew: 0, tcpEstablished: 0, tcpClosing: 0, tcpClosed: 0, udp: 0, icmp: 0 },
      masquerade,
      snatPorts: { first: 0, last: 0 },
      podEgress: "uplink" as const,
      sourceCheck: "strict" as const,
      podMulticast: "off" as const,
      uplinkCheck: "strict" as const,
      nonMasqueradeCIDRs: [],
      overlay,
    };
    const podCIDR = `10.244.${number}.0/24`;
    setConfig(
      this.bpffs,
      nodeConfigOf(settings, {
        address: this.addr,
        podCIDR,
        plan,
        tunnelled: plan.tunnelled,
      }),
    );
    maps.uplinks.set({ ifindex: uplink }, { addr: this.addr, mtu: nl.link(uplink)!.mtu });
    for (const i of NODES) {
      const flags = i === number ? NODE_ADDR_FLAG.LOCAL : 0;
      maps.node_addrs.set({ addr: `192.0.2.1${i}` }, { flags });
      if (i !== number) setVtep(this.bpffs, i);
      maps.no_masquerade.set(keyOf(`10.244.${i}.0/24`), 0);
    }
  }

  /** Another uplink, whose routes are worse than the first one's: nothing would leave by it unasked. */
  secondUplink(router: TestNetns, address: string, gateway: string): void {
    const [near, far] = this.sandbox.veth(router, this.self, "second", "eth1");
    router.nl.addAddr({ ifindex: near, address: gateway, prefixLength: 30 });
    this.self.nl.addAddr({ ifindex: far, address, prefixLength: 30 });
    this.self.nl.addRoute({ destination: EVERYWHERE, gateway, ifindex: far, metric: 1000 });
    // The router takes nothing from an address that it would not reach by the same way.
    writeSysctl("net.ipv4.conf.all.rp_filter", "1", router.path);
    const { maps } = this;
    maps.uplinks.set({ ifindex: far }, { addr: address, mtu: 1500 });
    maps.node_addrs.set({ addr: address }, { flags: NODE_ADDR_FLAG.LOCAL });
    this.attach(far, "ingress", "k8sd_from_uplink");
    this.attach(far, "egress", "k8sd_to_uplink");
  }

  /** A pod. */
  pod(addr: string): Host {
    const netns = this.sandbox.netns();
    const [outside, inside] = this.sandbox.veth(
      this.self,
      netns,
      `veth${addr.split(".").pop()}`,
      "eth0",
    );
    const { mtu } = this.self.nl.link(this.#bridge)!;
    this.self.nl.setLink(outside, { master: this.#bridge, mtu });
    netns.nl.setLink(inside, { mtu });
    netns.nl.addAddr({ ifindex: inside, address: addr, prefixLength: 24 });
    netns.nl.addRoute({ destination: EVERYWHERE, gateway: this.gateway, ifindex: inside });
    this.endpoint(netns, addr, outside, this.gateway);
    return { ...netns, addr };
  }
}

/** The whole scene; `await using` takes it away. */
export class Cluster extends Traffic {
  readonly sandbox = new Sandbox();
  readonly router: TestNetns;
  readonly outside: Host;
  readonly nodes: ClusterNode[] = [];
  readonly pods: Host[] = [];

  constructor(readonly options: ClusterOptions) {
    super();
    try {
      this.router = this.sandbox.netns();
      writeSysctl("net.ipv4.ip_forward", "1", this.router.path);
      this.router.nl.addLink({ kind: "bridge", name: "fabric" });
      const fabric = this.router.nl.link("fabric")!.index;
      this.router.nl.setLink(fabric, { up: true });
      this.router.nl.addAddr({ ifindex: fabric, address: ROUTER, prefixLength: 24 });
      this.outside = this.#outside();
      for (const i of NODES) this.nodes.push(this.#node(i, fabric));
      for (const node of this.nodes) node.start();
      this.pods.push(
        this.node(1).pod("10.244.1.2"),
        this.node(1).pod("10.244.1.3"),
        this.node(2).pod("10.244.2.2"),
        this.node(3).pod("10.244.3.2"),
      );
    } catch (error) {
      this.sandbox[Symbol.dispose]();
      throw error;
    }
  }

  #outside(): Host {
    const netns = this.sandbox.netns();
    const [near, far] = this.sandbox.veth(this.router, netns, "world", "eth0");
    this.router.nl.addAddr({ ifindex: near, address: "198.51.100.1", prefixLength: 24 });
    netns.nl.addAddr({ ifindex: far, address: OUTSIDE, prefixLength: 24 });
    netns.nl.addRoute({ destination: EVERYWHERE, gateway: "198.51.100.1", ifindex: far });
    return { ...netns, addr: OUTSIDE };
  }

  #node(i: number, fabric: number): ClusterNode {
    const netns = this.sandbox.netns();
    writeSysctl("net.ipv4.ip_forward", "1", netns.path);
    const [port, uplink] = this.sandbox.veth(this.router, netns, `node${i}`, "eth0");
    const { mtu = 1500 } = this.options;
    this.router.nl.setLink(port, { master: fabric, mtu });
    netns.nl.setLink(uplink, { mtu });
    netns.nl.addAddr({ ifindex: uplink, address: `192.0.2.1${i}`, prefixLength: 24 });
    netns.nl.addRoute({ destination: EVERYWHERE, gateway: ROUTER, ifindex: uplink });
    return new ClusterNode(this.sandbox, netns, i, this.options, uplink);
  }

  node(i: number): ClusterNode {
    return this.nodes[i - 1]!;
  }

  pod(addr: string): Host {
    return this.pods.find((pod) => pod.addr === addr)!;
  }

  /** A ClusterIP and a NodePort on every node. */
  service(
    vip: string,
    port: number,
    nodePort: number,
    proto: Proto,
    backends: string[],
    change: Partial<Service> = {},
  ): void {
    for (const node of this.nodes) {
      const frontends = [
        { addr: vip, port, scope: SCOPE.CLUSTER },
        { addr: "0.0.0.0", port: nodePort, scope: SCOPE.CLUSTER },
        { addr: "0.0.0.0", port: nodePort, scope: SCOPE.EXTERNAL },
      ];
      node.serve(frontends, proto, backends, change);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    this.sandbox[Symbol.dispose]();
  }
}
