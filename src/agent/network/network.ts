/**
 * The node's place among the others: routes and the tunnel to their pods (src/routing), and what the data plane must know
 * of nodes and uplinks. Follows Node objects, the node's devices, and whoever disturbs what was set up.
 */
import { detach, listAttachments } from "../../bpf/attach.ts";
import type { DataPlane } from "../../bpf/dataplane.ts";
import { overlayProgram, uplinkPrograms } from "../../bpf/places.ts";
import type { AgentConfig } from "../../config/schema.ts";
import type { RtNetlink } from "../../linux/rtnetlink.ts";
import type { Node } from "../../model/objects.ts";
import { Prefix } from "../../net/prefix.ts";
import type { Change } from "../../model/state.ts";
import { routingAnnotations } from "../../routing/annotations.ts";
import { planRouting } from "../../routing/plan.ts";
import { Routing, type RoutingReport } from "../routing/routing.ts";
import type { RoutingNode, Uplink } from "../../routing/types.ts";
import { RoutingWatch } from "../routing/watch.ts";
import { ensureProgram } from "../devices/attachments.ts";
import type { Log } from "../log.ts";
import { syncNodeMaps } from "./node_maps.ts";
import { remotesMap } from "./remotes.ts";
import { reservePorts } from "./reserved_ports.ts";
import { Runner } from "../runner.ts";
import { endMasqueraded } from "../services/stale_sessions.ts";
import { recordSysctl } from "../../node/state_files.ts";
import { findDevices, type NodeDevices } from "./uplinks.ts";

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
  readonly #nodes = new Map<string, Node>();
  readonly #routing: Routing;
  readonly #runner: Runner;
  #watch: RoutingWatch | undefined;
  #uplinks: readonly Uplink[] = [];
  /** The node's devices, as they were when they were last looked at, in text. */
  #seen: string | undefined;
  #told: string | undefined;
  #masqueradedAs: ReadonlySet<string> = new Set();
  #reported = new Set<string>();
  #unreserved: string | undefined;
  #failure: unknown;
  #started = false;
  #vpcRoutes: ReadonlySet<string> | undefined;
  readonly #options: NetworkOptions;

  constructor(options: NetworkOptions) {
    this.#options = options;
    const { config, dataPlane, nl, log } = options;
    this.#routing = new Routing({
      node: config.nodeName,
      device: config.overlay.device,
      sysctlChanges: (name, before, after) =>
        recordSysctl(config.stateDir, name, { before, after }),
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
        log.error({ err: error, retryMs }, "routes could not be brought up to date");
      },
      minMs: 50,
      fullMs: config.resync * 1000,
    });
  }

  /** Why the last round failed; undefined: it did not. */
  get failing(): string | undefined {
    return this.#failure === undefined ? undefined : (this.#failure as Error).message;
  }

  /** Nodes changed; other objects are none of its business. */
  changes(changes: readonly Change[]) {
    let any = false;
    for (const { type, object } of changes) {
      if (object.kind !== "Node") continue;
      any = true;
      if (type === "delete") this.#nodes.delete(object.name);
      else this.#nodes.set(object.name, object);
    }
    if (any && this.#started) this.#runner.request();
  }

  /** A device, an address or a route may be another one: has anything changed that matters here? */
  devicesChanged() {
    if (this.#started && JSON.stringify(this.#findDevices()) !== this.#seen) this.#runner.request();
  }

  /** The cloud leads to these podCIDRs now; undefined: to none. */
  vpcChanged(routes: ReadonlySet<string> | undefined) {
    this.#vpcRoutes = routes;
    if (this.#started) this.#runner.request();
  }

  /** Live settings changed in the configuration object. */
  settingsChanged() {
    if (this.#started) this.#runner.request();
  }

  /**
   * Sets everything up and goes on doing so.
   * @throws {SyscallError} when that fails the first time
   */
  start() {
    this.#watch = RoutingWatch.open(
      (why) => {
        this.#options.log.debug({ why }, "routes were disturbed");
        this.#runner.request();
      },
      (error) => this.#options.log.error({ err: error }, "routes cannot be watched any more"),
    );
    this.#started = true;
    this.#runner.request();
    if (this.#failure !== undefined) throw this.#failure;
  }

  async stop() {
    this.#runner.stop();
    await this.#watch?.close();
    this.#routing.close();
  }

  #findDevices(): NodeDevices {
    const { nl, config } = this.#options;
    const internalIPs = this.#nodes.get(config.nodeName)?.internalIPs ?? [];
    return findDevices(nl, { names: config.uplink, internalIPs });
  }

  #reconcile() {
    const { config, log, dataPlane } = this.#options;
    const devices = this.#findDevices();
    const { uplinks, addresses } = devices;
    const seen = JSON.stringify(devices);
    this.#uplinks = uplinks;
    const nodes = [...this.#nodes.values()].map(routingNode);
    const plan = planRouting({
      own: config.nodeName,
      nodes,
      settings: {
        routing: config.routing,
        overlay: config.overlay,
        ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
      },
      uplinks,
      ...(this.#vpcRoutes === undefined ? {} : { vpcRoutes: this.#vpcRoutes }),
    });
    this.podMtu = plan.mtu;
    this.#masquerade(
      syncNodeMaps(dataPlane.maps, { config, nodes, uplinks, addresses, plan }),
    );
    this.#tellUplinks(devices);
    this.#reserve();
    const first = this.#routing.reconcile(plan);
    // Entries of `remotes` name the device: when it was made anew, a second look finds those that are out of date.
    const remade = first.steps.some((step) => step.do === "create-device");
    if (remade) this.#watch?.forget(); // mostly what this node did itself; the second look sees the rest
    const report = remade ? this.#routing.reconcile(plan) : first;
    this.#report(report);
    this.#dispatch(uplinks, report.overlay);
    const steps = first.steps.length;
    if (steps > 0) log.debug({ steps }, "routes are up to date");
    const indexes = uplinks.map(({ ifindex }) => ifindex);
    this.#watch?.update(
      { plan, device: config.overlay.device, uplinks: indexes },
      report.overlay,
    );
    if (seen !== this.#seen) log.debug({ addresses }, "followed the node's devices");
    this.#seen = seen;
    this.#failure = undefined;
    this.#options.settled?.();
  }

  /** Puts k8sdispatcher on the uplinks and on the overlay's device, and takes it off what was one before. */
  #dispatch(uplinks: readonly Uplink[], overlay: number | undefined) {
    const { dataPlane, nl, config, log } = this.#options;
    const { bpffs } = dataPlane;
    const wanted = uplinks.flatMap(({ ifindex, name }) =>
      uplinkPrograms(bpffs, nl, { index: ifindex, name })
    );
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

  #tellUplinks({ uplinks, missing }: NodeDevices) {
    const { log } = this.#options;
    const words = JSON.stringify([uplinks, missing]);
    if (words === this.#told) return;
    this.#told = words;
    for (const { name, addresses } of uplinks) {
      log.info({ device: name, address: addresses[0]?.address }, "uplink");
    }
    for (const name of missing) {
      log.warn({ device: name }, `uplink ${name}: there is no such device`);
    }
    if (uplinks.length + missing.length === 0) {
      log.warn("no uplink: there is no default route, and none was named");
    }
  }

  /** The kernel shall not give masquerade's ports away. */
  #reserve() {
    const { config, log } = this.#options;
    try {
      const ports = reservePorts(config.snatPorts, config.stateDir);
      if (ports !== undefined) log.info({ ports }, "reserved in net.ipv4.ip_local_reserved_ports");
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#unreserved) log.error({ event: "SnatPorts" }, message);
      this.#unreserved = message;
    }
  }

  /** Flows that are masqueraded as an address that no uplink has any more end with it. */
  #masquerade(now: ReadonlySet<string>) {
    for (const address of this.#masqueradedAs) {
      if (!now.has(address)) endMasqueraded(this.#options.dataPlane.maps.sessions, address);
    }
    this.#masqueradedAs = now;
  }

  /** Tells each problem once, as long as it lasts. */
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
    if (failures.length > 0) this.#runner.requestIn(5000);
  }
}

/** The uplink on whose network an address is. */
function uplinkTo(uplinks: readonly Uplink[], address: string): Uplink | undefined {
  return uplinks.find(({ addresses }) =>
    addresses.some((one) => new Prefix(one.address, one.prefixLength).contains(address))
  );
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
