/**
 * The parts of a running agent, and who tells whom: cluster objects go from the source through the node's settings to those that
 * follow them; what the network finds out goes to the node's object; everybody's health is told over HTTP.
 */
import { readBuild } from "../bpf/artifacts.ts";
import { takeCalls } from "../bpf/cni_calls.ts";
import type { DataPlane } from "../bpf/dataplane.ts";
import type { Source } from "../cluster/source.ts";
import type { WatchState } from "../model/agent_state.ts";
import type { AgentConfig } from "../config/schema.ts";
import type { RtNetlink } from "../linux/rtnetlink.ts";
import { agentChecks } from "./http/checks.ts";
import type { ApiReporter } from "./node/api_reporter.ts";
import { PodReadiness } from "./node/pod_readiness.ts";
import { openSource, type SourceChoice } from "./sources/object_source.ts";
import { agentState } from "./http/debug_state.ts";
import { Devices } from "./devices/devices.ts";
import { HealthServer } from "./http/health.ts";
import { HealthCheckPorts } from "./services/health_check_ports.ts";
import { SocketLb } from "./services/socket_lb.ts";
import { controlAnswer } from "./http/control.ts";
import type { Log } from "./log.ts";
import { Metrics } from "./http/metrics.ts";
import { NodeNames } from "./maps/names.ts";
import { Network } from "./network/network.ts";
import { NodeSettings } from "./sources/node_settings.ts";
import { type PageMaker, PagePart } from "./http/page.ts";
import { Reconciler } from "./services/reconciler.ts";
import { Vpc } from "./network/vpc.ts";

/** What is there before the parts are. */
export interface Ground {
  config: AgentConfig;
  choice: SourceChoice;
  link: ApiReporter;
  log: Log;
  nl: RtNetlink;
  dataPlane: DataPlane;
  /** Milliseconds since the epoch. */
  startedAt: number;
  /** What somebody must know who wants to change something over HTTP. */
  token: string;
  page?: PageMaker;
}

/** Milliseconds between looks at all devices. */
const deviceCheckMs = 30_000;

/** Made, but not started; disposing ends all, the last one first. */
export class Parts implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly reconciler: Reconciler;
  readonly healthChecks: HealthCheckPorts;
  readonly socketLb: SocketLb;
  readonly network: Network;
  readonly podReadiness: PodReadiness;
  readonly nodeNames: NodeNames;
  readonly vpc: Vpc;
  readonly nodeSettings: NodeSettings;
  readonly source: Source;
  readonly metrics: Metrics;
  readonly health: HealthServer;
  readonly devices: Devices;
  readonly #ground: Ground;

  constructor(ground: Ground) {
    this.#ground = ground;
    const { config, choice, dataPlane, log } = ground;
    this.reconciler = this.#own(this.#makeReconciler());
    this.healthChecks = this.#own(
      new HealthCheckPorts({ log, healthy: () => this.reconciler.healthy }),
    );
    this.socketLb = this.#own(new SocketLb(dataPlane, config, log));
    this.network = this.#own(this.#makeNetwork());
    this.podReadiness = this.#own(this.#makePodReadiness());
    this.nodeNames = new NodeNames(dataPlane.maps.names, log);
    this.vpc = this.#own(this.#makeVpc());
    const followers = [this.reconciler, this.network, this.nodeNames, this.podReadiness, this.vpc];
    this.nodeSettings = this.#own(new NodeSettings(config, followers, log));
    this.source = openSource(choice, [this.nodeSettings], log);
    this.#stack.defer(() => this.source.close());
    this.metrics = this.#makeMetrics();
    this.health = this.#own(this.#makeHealth());
    this.devices = this.#own(this.#makeDevices());
  }

  /** How following the API server, and etcd, goes. */
  get #watches(): WatchState[] {
    const { nodeSettings: { watch } } = this;
    return [...this.source.watches ?? [], ...watch === undefined ? [] : [watch]];
  }

  #own<T extends { stop(): unknown }>(part: T): T {
    this.#stack.defer(async () => void await part.stop());
    return part;
  }

  #makeReconciler(): Reconciler {
    const { config, dataPlane, log } = this.#ground;
    return new Reconciler({
      maps: dataPlane.maps,
      nodeName: config.nodeName,
      lbAlgorithm: config.lbAlgorithm,
      log,
      resyncMs: config.resync * 1000,
      complete: () => this.source.complete,
      changed: () => this.socketLb.changed(),
      healthChecks: (checks) => this.healthChecks.update(checks),
      measured: (round) => this.metrics.round(round),
    });
  }

  #makeNetwork(): Network {
    const { config, dataPlane, log, nl } = this.#ground;
    const settled = () => this.podReadiness.networkChanged();
    return new Network({ dataPlane, nl, config, log, settled });
  }

  #makePodReadiness(): PodReadiness {
    const { config, choice, link, log } = this.#ground;
    return new PodReadiness({
      config: { ...config, cniConfDir: cniConfDir(config, choice) },
      log,
      mtu: () => this.network.podMtu,
      condition: link.condition(log),
    });
  }

  #makeVpc(): Vpc {
    const { config: { nodeName, stateDir }, log } = this.#ground;
    return new Vpc({
      nodeName,
      stateDir,
      log,
      changed: (routes) => this.network.vpcChanged(routes),
    });
  }

  #makeMetrics(): Metrics {
    const { config: { bpffs }, dataPlane: { maps }, startedAt } = this.#ground;
    return new Metrics({
      maps,
      checks: () => agentChecks(this),
      watches: () => this.#watches,
      cniCalls: () => takeCalls(bpffs),
      build: readBuild(),
      startedAt,
    });
  }

  #makeHealth(): HealthServer {
    const { config, log, token, page: make } = this.#ground;
    const level = {
      get: () => log.level,
      set: (wanted: string) => {
        log.info({ level: wanted }, "the log level is changed");
        log.level = wanted;
      },
    };
    const state = () => agentState(this.#ground, this.#watches);
    const page = make && config.ui ? new PagePart(make, config, token) : undefined;
    return new HealthServer({
      address: config.healthAddress,
      checks: () => agentChecks(this),
      metrics: () => this.metrics.collect(),
      control: (request, peer) => controlAnswer(request, peer, { token, level, state }),
      ...(page && {
        page: (request, from) => page.answer(request, from),
        endPage: () => page.stop(),
      }),
      log,
    });
  }

  #makeDevices(): Devices {
    const { config: { attach, bridge, stateDir }, dataPlane, log, nl } = this.#ground;
    return new Devices({
      dataPlane,
      nl,
      stateDir,
      attach,
      log,
      bridge,
      changed: () => this.network.devicesChanged(),
      checkMs: deviceCheckMs,
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Where the CNI configuration goes; with manifests nowhere unless it is said. */
function cniConfDir(config: AgentConfig, choice: SourceChoice): string | undefined {
  return config.cniConfDir ?? ("access" in choice ? "/etc/cni/net.d" : undefined);
}
