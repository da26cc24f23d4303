/**
 * The node's place among the others: routes and the tunnel to their pods (src/routing), and what the data plane must know
 * of nodes and uplinks. Follows Node objects, the uplink, and whoever disturbs what was set up.
 */
import { detach, listAttachments } from "../bpf/attach.ts";
import type { DataPlane } from "../bpf/dataplane.ts";
import { NODE_ADDR_FLAG } from "../bpf/layout.ts";
import { overlayProgram, uplinkPrograms } from "../bpf/places.ts";
import type { AgentConfig } from "../config/schema.ts";
import type { RtNetlink } from "../linux/rtnetlink.ts";
import type { Node } from "../model/objects.ts";
import type { Change } from "../model/state.ts";
import { routingAnnotations } from "../routing/annotations.ts";
import { planRouting } from "../routing/plan.ts";
import { tunnelSources } from "../routing/vteps.ts";
import { readUplink } from "./routing/read.ts";
import { Routing, type RoutingReport } from "./routing/routing.ts";
import type { RoutingNode, RoutingPlan, Uplink } from "../routing/types.ts";
import { RoutingWatch } from "./routing/watch.ts";
import { ensureProgram } from "./attachments.ts";
import type { Log } from "./log.ts";
import { syncMap } from "./map_sync.ts";
import { nodeConfigOf } from "./node_config.ts";
import { keyOf, remotesMap } from "./remotes.ts";
import { Runner } from "./runner.ts";
import { endMasqueraded } from "./sessions.ts";

export interface NetworkOptions {
  dataPlane: DataPlane;
  nl: RtNetlink;
  config: AgentConfig;
  log: Log;
  /** Told after each round. */
  settled?: () => void;
}

export class Network {
  /** Bytes a pod's packet may have; undefined before the first round. */
  podMtu: number | undefined;
  private readonly nodes = new Map<string, Node>();
  private readonly routing: Routing;
  private readonly runner: Runner;
  private watch: RoutingWatch | undefined;
  private uplink: string | undefined;
  private told: string | undefined;
  private masqueradedAs: string | undefined;
  private reported = new Set<string>();
  private failure: unknown;
  private started = false;

  constructor(private readonly options: NetworkOptions) {
    const { config, dataPlane, nl, log } = options;
    this.routing = new Routing({
      node: config.nodeName,
      device: config.overlay.device,
      remotes: remotesMap({
        map: dataPlane.maps.remotes,
        nl,
        device: config.overlay.device,
        vni: config.overlay.vni,
        uplink: () => this.readUplink()?.ifindex,
      }),
    });
    this.runner = new Runner({
      run: () => this.reconcile(),
      failed: (error, retryMs) => {
        this.failure = error;
        log.error({ err: error, retryMs }, "routes could not be brought up to date");
      },
      minMs: 50,
      fullMs: config.resync * 1000,
    });
  }

  /** Why the last round failed; undefined: it did not. */
  get failing(): string | undefined {
    return this.failure === undefined ? undefined : (this.failure as Error).message;
  }

  /** Nodes changed; other objects are none of its business. */
  changes(changes: readonly Change[]) {
    let any = false;
    for (const { type, object } of changes) {
      if (object.kind !== "Node") continue;
      any = true;
      if (type === "delete") this.nodes.delete(object.name);
      else this.nodes.set(object.name, object);
    }
    if (any && this.started) this.runner.request();
  }

  /** The uplink is this device now, or has another address. */
  uplinkChanged(name: string | undefined) {
    this.uplink = name;
    if (this.started) this.runner.request();
  }

  /**
   * Sets everything up and goes on doing so.
   * @throws {SyscallError} when that fails the first time
   */
  start() {
    this.watch = RoutingWatch.open(
      (why) => {
        this.options.log.debug({ why }, "routes were disturbed");
        this.runner.request();
      },
      (error) => this.options.log.error({ err: error }, "routes cannot be watched any more"),
    );
    this.started = true;
    this.runner.request();
    if (this.failure !== undefined) throw this.failure;
  }

  async stop() {
    this.runner.stop();
    await this.watch?.close();
    this.routing.close();
  }

  private readUplink(): Uplink | undefined {
    return this.uplink === undefined ? undefined : readUplink(this.options.nl, this.uplink);
  }

  private reconcile() {
    const { config, log } = this.options;
    const uplink = this.readUplink();
    const plan = planRouting({
      own: config.nodeName,
      nodes: [...this.nodes.values()].map(routingNode),
      settings: {
        routing: config.routing,
        overlay: config.overlay,
        ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
      },
      uplinks: uplink === undefined ? [] : [uplink],
    });
    this.podMtu = plan.mtu;
    this.configure(plan, uplink);
    this.tellUplink(uplink);
    const first = this.routing.reconcile(plan);
    // Entries of `remotes` name the device: when it was made anew, a second look finds those that are out of date.
    const remade = first.steps.some((step) => step.do === "create-device");
    const report = remade ? this.routing.reconcile(plan) : first;
    this.report(report);
    this.dispatch(uplink, report.overlay);
    const steps = first.steps.length;
    if (steps > 0) log.debug({ steps }, "routes are up to date");
    const uplinks = uplink === undefined ? [] : [uplink.ifindex];
    this.watch?.update({ plan, device: config.overlay.device, uplinks }, report.overlay);
    this.failure = undefined;
    this.options.settled?.();
  }

  /** Puts k8sdispatcher on the uplink and on the overlay's device, and takes it off what was one before. */
  private dispatch(uplink: Uplink | undefined, overlay: number | undefined) {
    const { dataPlane, nl, config, log } = this.options;
    const { bpffs } = dataPlane;
    const wanted = uplink === undefined
      ? []
      : uplinkPrograms(bpffs, nl, { index: uplink.ifindex, name: uplink.name });
    if (overlay !== undefined) {
      wanted.push(overlayProgram(bpffs, nl, { index: overlay, name: config.overlay.device }));
    }
    for (const placed of wanted) {
      if (!ensureProgram({ dataPlane, attach: config.attach, log }, placed)) continue;
      log.info({ device: placed.device }, `${placed.name} attached`);
    }
    const present = new Set(wanted.map(({ hook }) => hook.ifindex));
    // Also those of an agent that ran before, with another uplink.
    for (const { ifindex, direction, name } of listAttachments({ bpffs, nl })) {
      if (!name.startsWith("k8sd_") || present.has(ifindex)) continue;
      detach({ bpffs, nl, ifindex, direction });
      log.info({ ifindex }, `${name} detached: no uplink any more`);
    }
  }

  private tellUplink(uplink: Uplink | undefined) {
    const address = uplink?.addresses[0]?.address;
    const words = `${uplink?.name} ${address}`;
    if (words === this.told) return;
    this.told = words;
    if (uplink) this.options.log.info({ device: uplink.name, address }, "uplink");
    else this.options.log.warn("no uplink: there is no default route, and none was named");
  }

  /** What programs are told. */
  private configure(plan: RoutingPlan, uplink: Uplink | undefined) {
    const { config, dataPlane: { maps } } = this.options;
    const own = this.nodes.get(config.nodeName);
    const address = own?.internalIPs[0] ?? uplink?.addresses[0]?.address;
    if (this.masqueradedAs !== undefined && address !== this.masqueradedAs) {
      endMasqueraded(maps.sessions, this.masqueradedAs);
    }
    this.masqueradedAs = address;
    const vteps = tunnelSources([...this.nodes.values()].map(routingNode), config.nodeName);
    // Before the configuration, which says that it counts.
    syncMap(maps.vteps, [...vteps].map((addr) => [{ addr }, 0] as const));
    maps.config.set(0, nodeConfigOf(config, { address, podCIDR: own?.podCIDRs[0], plan }));
    const { LOCAL } = NODE_ADDR_FLAG;
    const addresses = new Map<string, number>();
    for (const { internalIPs } of this.nodes.values()) {
      for (const addr of internalIPs) addresses.set(addr, 0);
    }
    for (const addr of own?.internalIPs ?? []) addresses.set(addr, LOCAL);
    for (const { address } of uplink?.addresses ?? []) addresses.set(address, LOCAL);
    syncMap(maps.node_addrs, [...addresses].map(([addr, flags]) => [{ addr }, { flags }] as const));
    const podCIDRs = [...this.nodes.values()].flatMap((node) => node.podCIDRs);
    const inside = new Set([...podCIDRs, ...config.nonMasqueradeCIDRs]);
    syncMap(maps.no_masquerade, [...inside].map((prefix) => [keyOf(prefix), 0] as const));
    const known = uplink === undefined ? [] : [
      [{ ifindex: uplink.ifindex }, { addr: address ?? "0.0.0.0", mtu: uplink.mtu }] as const,
    ];
    syncMap(maps.uplinks, known);
  }

  /** Tells each problem once, as long as it lasts. */
  private report({ problems, failures }: RoutingReport) {
    const { log } = this.options;
    const present = new Set<string>();
    for (const { code, node, message } of problems) {
      present.add(message);
      if (!this.reported.has(message)) log.warn({ event: code, object: `Node ${node}` }, message);
    }
    for (const { message } of failures) {
      present.add(message);
      if (!this.reported.has(message)) log.error({ event: "RoutingFailed" }, message);
    }
    this.reported = present;
    if (failures.length > 0) this.runner.requestIn(5000);
  }
}

function routingNode(node: Node): RoutingNode {
  const { name, internalIPs, podCIDRs, annotations, createdAt } = node;
  return {
    name,
    internalIPs,
    podCIDRs,
    ...routingAnnotations(annotations ?? {}),
    ...(createdAt === undefined ? {} : { createdAt }),
  };
}
