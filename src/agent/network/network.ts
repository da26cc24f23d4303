/**
 * This node among the others: routes and the tunnel to their pods (src/routing), and the data plane's maps of nodes and
 * uplinks. A sync follows each change of Nodes, their settings, uplinks, the VPC's routes, and each disturbance of what was
 * applied; and one comes from time to time.
 */
import type { DataPlane } from "../../bpf/dataplane.ts";
import type { AgentConfig } from "../../config/schema.ts";
import type { RtNetlink } from "../../linux/rtnetlink.ts";
import type { Node } from "../../model/objects.ts";
import { Prefix } from "../../net/prefix.ts";
import type { RtEvent } from "../../linux/rtnl_monitor.ts";
import type { NodeSettings } from "../../model/node_settings.ts";
import type { Change } from "../../model/state.ts";
import { planRouting } from "../../routing/plan.ts";
import { Routing, type RoutingReport } from "../routing/routing.ts";
import type { RoutingNode, RoutingPlan, Uplink } from "../../routing/types.ts";
import { routingSettings } from "../../routing/settings.ts";
import { Disturbances } from "../routing/disturbances.ts";
import type { Log } from "../log.ts";
import { type NodeKnowledge, nodeMapsFingerprint, syncNodeMaps, syncOwnMaps } from "./node_maps.ts";
import { remotesMap } from "./remotes.ts";
import { portParameters, reservePorts } from "./reserved_ports.ts";
import { Runner } from "../runner.ts";
import { endMasqueraded } from "../services/stale_sessions.ts";
import { recordSysctl } from "../../node/state_files.ts";
import { dispatch } from "./uplink_programs.ts";
import { isDefaultRoute } from "./uplink_rule.ts";
import { findDevices, type NodeDevices } from "./uplinks.ts";
import { UplinkReport } from "./uplink_report.ts";
import { WayChanges } from "./way_changes.ts";

interface NetworkOptions {
  dataPlane: DataPlane;
  nl: RtNetlink;
  config: AgentConfig;
  log: Log;
  /** The settings of a node that are in effect. */
  settingsOf: (node: string) => NodeSettings;
  /** Delivers the rtnetlink events that are pending. */
  readEvents: () => void;
  /** Called after each sync. */
  synced: () => void;
}

export class Network {
  /** Bytes a pod's packet may have; undefined before the first sync. */
  podMtu: number | undefined;
  readonly #nodes = new Map<string, Node>();
  readonly #routing: Routing;
  readonly #runner: Runner;
  readonly #disturbances = new Disturbances();
  #uplinks: readonly Uplink[] = [];
  /** The node's devices at the last sync, as JSON. */
  #seen: string | undefined;
  /** What was applied last. */
  #applied: NodeKnowledge | undefined;
  #lookAt = 0;
  #compareAt = 0;
  /** Fingerprint of what the last comparison found as it should be. */
  #whole: string | undefined;
  /** The kernel's reserved ports after the last sync. */
  #portParameters: string | undefined;
  readonly #uplinkReport: UplinkReport;
  #masqueradedAs: ReadonlySet<string> = new Set();
  #reported = new Set<string>();
  #unreserved: string | undefined;
  #failure: unknown;
  #stepFailure: string | undefined;
  #stepsFailed = false;
  #started = false;
  #moved: ReturnType<typeof setTimeout> | undefined;
  #vpcRoutes: ReadonlySet<string> | undefined;
  readonly #ways: WayChanges;
  readonly #options: NetworkOptions;

  constructor(options: NetworkOptions) {
    this.#options = options;
    const { config, dataPlane, nl, log } = options;
    this.#uplinkReport = new UplinkReport(config.stateDir, log);
    this.#ways = new WayChanges(dataPlane.maps.config.get(0)?.flags ?? 0);
    this.#routing = new Routing({
      node: config.nodeName,
      device: config.overlay.device,
      sysctlChanges: (name, before, after) => {
        try {
          recordSysctl(config.stateDir, name, { before, after });
        } catch (error) {
          const text = `${name} was ${before}, and an uninstall will not set it back: the change ` +
            `cannot be recorded: ${(error as Error).message}`;
          log.warn({ event: "StateDir" }, text);
        }
      },
      remotes: remotesMap({
        map: dataPlane.maps.remotes,
        nl,
        device: config.overlay.device,
        vni: config.overlay.vni,
        uplink: (address) => uplinkTo(this.#uplinks, address)?.ifindex,
      }),
    });
    this.#runner = new Runner({
      run: () => this.#reconcile(),
      failed: (error, retryMs) => {
        this.#failure = error;
        log.error({ err: error, retryMs }, "cannot sync routes and node maps");
      },
      minMs: 50,
      fullMs: config.resync * 1000,
    });
  }

  /** Why the last sync failed, or a step of the last two; undefined: neither did. */
  get failing(): string | undefined {
    return this.#failure === undefined ? this.#stepFailure : (this.#failure as Error).message;
  }

  /** Nodes changed; other objects do not matter here. */
  changes(changes: readonly Change[]) {
    let any = false;
    for (const { type, object } of changes) {
      if (object.kind !== "Node") continue;
      any = true;
      if (type === "delete") this.#nodes.delete(object.name);
      else this.#nodes.set(object.name, object);
    }
    if (any) this.settingsChanged();
  }

  /** Settings of this agent or of nodes changed. */
  settingsChanged() {
    if (this.#started) this.#runner.request();
  }

  /** The VPC routes these podCIDRs to their nodes; undefined: none. */
  vpcChanged(routes: ReadonlySet<string> | undefined) {
    this.#vpcRoutes = routes;
    this.settingsChanged();
  }

  /** Requests a sync when another program disturbed what was applied, or when uplinks changed. */
  handle(events: readonly RtEvent[]) {
    if (!this.#started) return;
    const why = this.#disturbances.judge(events);
    if (why.length > 0) {
      this.#options.log.debug({ why }, "routes were disturbed");
      this.#runner.request();
    } else if (events.some(mayMoveUplinks)) {
      this.#moved ??= setTimeout(() => this.#followDevices(), burstMs);
    }
  }

  #followDevices() {
    this.#moved = undefined;
    try {
      if (JSON.stringify(this.#findDevices()) !== this.#seen) this.#runner.request();
    } catch {
      this.#runner.request(); // which reports what fails
    }
  }

  /** Looks at what no event reports (neighbours, kernel parameters, maps), and requests a sync when it was disturbed. */
  look() {
    const applied = this.#applied;
    if (applied === undefined || this.#failure !== undefined) return;
    syncOwnMaps(this.#options.dataPlane.maps, applied);
    const now = performance.now();
    let changed = this.#portParameters !== portParameters();
    if (now >= this.#lookAt) {
      changed ||= this.#isDisturbed(applied);
      // 5,000 nodes take 15 ms: a thousandth of the time at most.
      this.#lookAt = now +
        (applied.nodes.length <= FEW_NODES ? 0 : 1000 * (performance.now() - now));
    }
    if (changed) this.#runner.request();
  }

  /** Compares what grows with the cluster if its fingerprint is another; now and then also what events are believed to report. */
  #isDisturbed(applied: NodeKnowledge): boolean {
    const now = performance.now();
    const held = this.#fingerprint();
    if (held === this.#whole && now < this.#compareAt) return false;
    syncNodeMaps(this.#options.dataPlane.maps, applied);
    const disturbed = this.#routing.compare(applied.plan).steps.length > 0;
    // Only what was compared and not altered meanwhile, by this comparison or by others, is known to be whole.
    this.#whole = !disturbed && held === this.#fingerprint() ? held : undefined;
    this.#compareAt = now + Math.max(compareMs, 4000 * (performance.now() - now));
    return disturbed;
  }

  #fingerprint(): string {
    return `${nodeMapsFingerprint(this.#options.dataPlane.maps)},${this.#routing.fingerprint()}`;
  }

  /**
   * Sets everything up and goes on doing so.
   * @throws {SyscallError} when that fails the first time
   */
  start() {
    this.#started = true;
    this.#runner.request();
    if (this.#failure !== undefined) throw this.#failure;
  }

  stop() {
    this.#started = false;
    clearTimeout(this.#moved);
    this.#runner.stop();
    this.#routing.close();
  }

  #findDevices(): NodeDevices {
    const { nl, config } = this.#options;
    const { internalIPs, podCIDRs } = this.#nodes.get(config.nodeName) ?? {};
    const { uplink: names, bridge, overlay: { device: overlay } } = config;
    return findDevices(nl, { names, internalIPs, podCIDRs, bridge, overlay });
  }

  #reconcile() {
    const { config, log, dataPlane, nl } = this.#options;
    const devices = this.#findDevices();
    const { uplinks, addresses, bridge } = devices;
    const seen = JSON.stringify(devices);
    this.#uplinks = uplinks;
    const nodes = [...this.#nodes.values()].map((node) => this.#routingNode(node));
    const { routing, overlay, mtu } = config;
    const plan = planRouting({
      own: config.nodeName,
      nodes,
      settings: { routing, overlay, mtu },
      uplinks,
      vpcRoutes: this.#vpcRoutes,
    });
    this.podMtu = plan.mtu;
    const tunnelledAt = this.#ways.follow(plan, performance.now());
    const knowledge = { config, nodes, uplinks, addresses, bridge, plan, tunnelledAt };
    this.#masquerade(syncNodeMaps(dataPlane.maps, knowledge));
    this.#reserve();
    this.#portParameters = portParameters();
    const report = this.#applyRouting(plan);
    this.#applied = knowledge;
    this.#whole = undefined;
    this.#report(report);
    const links = devices.choices.filter(({ uplink }) => uplink).map(({ link }) => link);
    dispatch({ dataPlane, nl, attach: config.attach, log }, links, {
      ifindex: report.overlay,
      name: overlay.device,
    });
    this.#uplinkReport.update(devices);
    const indexes = uplinks.map(({ ifindex }) => ifindex);
    const applied = { plan, device: overlay.device, uplinks: indexes, overlay: report.overlay };
    this.#disturbances.update(applied);
    if (seen !== this.#seen) log.debug({ addresses }, "followed the node's devices");
    this.#seen = seen;
    this.#failure = undefined;
    this.#options.synced();
  }

  #applyRouting(plan: RoutingPlan): RoutingReport {
    const report = this.#routing.reconcile(plan);
    const { steps } = report;
    if (steps.length > 0) this.#options.log.debug({ steps: steps.length }, "routes are up to date");
    if (!steps.some((step) => step.do === "create-device")) return report;
    // Entries of `remotes` hold the index of the former device: a second comparison finds them. Events so far are mostly
    // this node's own; that comparison sees the rest.
    this.#disturbances.skip(this.#options.readEvents);
    return this.#routing.reconcile(plan);
  }

  #routingNode({ name, internalIPs, podCIDRs, createdAt }: Node): RoutingNode {
    const settings = routingSettings(this.#options.settingsOf(name));
    return { name, internalIPs, podCIDRs, createdAt, ...settings };
  }

  /** Keeps the kernel from giving masquerade's ports to sockets of the node. */
  #reserve() {
    const { config, log } = this.#options;
    try {
      const ports = reservePorts(config, config.stateDir);
      if (ports !== undefined) log.info({ ports }, "reserved in net.ipv4.ip_local_reserved_ports");
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#unreserved) log.error({ event: "SnatPorts" }, message);
      this.#unreserved = message;
    }
  }

  /** Ends flows that are masqueraded as an address that no uplink has any more. */
  #masquerade(now: ReadonlySet<string>) {
    for (const address of this.#masqueradedAs) {
      if (!now.has(address)) endMasqueraded(this.#options.dataPlane.maps, address);
    }
    this.#masqueradedAs = now;
  }

  /** Logs each problem once while it lasts. */
  #report({ problems, failures }: RoutingReport) {
    const { log } = this.#options;
    const present = new Set<string>();
    for (const { code, node, message } of problems) {
      present.add(message);
      if (!this.#reported.has(message)) log.warn({ event: code, object: `Node ${node}` }, message);
    }
    for (const { message } of failures) {
      present.add(message);
      if (!this.#reported.has(message)) log.error({ event: "RoutingFailed" }, message);
    }
    this.#reported = present;
    this.#stepFailure = this.#stepsFailed ? failures[0]?.message : undefined;
    this.#stepsFailed = failures.length > 0;
    if (failures.length > 0) this.#runner.requestIn(5000);
  }
}

/** So many take a millisecond to compare. */
const FEW_NODES = 50;

/** Milliseconds between comparisons of what has its fingerprint; of many nodes a four-thousandth of the time. */
const compareMs = 10_000;

/** Milliseconds in which changes of devices are collected: a pod's make a dozen events. */
const burstMs = 50;

function mayMoveUplinks(event: RtEvent): boolean {
  if (event.type === "route" || event.type === "route-gone") return isDefaultRoute(event.route);
  return ["link", "link-gone", "address", "address-gone"].includes(event.type);
}

/** The uplink on whose network an address is. */
function uplinkTo(uplinks: readonly Uplink[], address: string): Uplink | undefined {
  return uplinks.find(({ addresses }) =>
    addresses.some((one) => new Prefix(one.address, one.prefixLength).contains(address))
  );
}
