/** The parts of a running agent, in the order in which data passes through them, and the events that connect them. */
import { readBuild } from "../bpf/artifacts.ts";
import { takeCalls } from "../bpf/cni_calls.ts";
import type { DataPlane } from "../bpf/dataplane.ts";
import { isSourceCheckOff } from "../cluster/kube/source_check.ts";
import type { Source } from "../cluster/source.ts";
import type { AgentConfig } from "../config/schema.ts";
import { PluginVersions } from "../node/plugin_versions.ts";
import { RtMonitor } from "../linux/rtnl_monitor.ts";
import type { RtNetlink } from "../linux/rtnetlink.ts";
import { installedPluginFolder, PLUGIN_FOLDERS } from "../node/conflist.ts";
import { UncheckedPods } from "./devices/unchecked_pods.ts";
import { type AgentEvents, Emitter } from "./events.ts";
import { agentChecks, type CheckedParts } from "./http/checks.ts";
import { agentState, controlReply } from "./http/control.ts";
import { HealthServer } from "./http/health.ts";
import { Metrics } from "./http/metrics.ts";
import { type Page, UiPage } from "./http/ui_page.ts";
import { AttachmentCache } from "../node/attachment_cache.ts";
import { readAttachments } from "../node/attachments.ts";
import type { Log } from "./log.ts";
import { NodeNames } from "./maps/names.ts";
import { Network } from "./network/network.ts";
import { Vpc } from "./network/vpc.ts";
import type { ApiReporter } from "./node/api_reporter.ts";
import { PodReadiness } from "./node/pod_readiness.ts";
import { HealthCheckPorts } from "./services/health_check_ports.ts";
import { HiddenHostPorts } from "./services/hidden_host_ports.ts";
import { SessionSweep } from "./services/session_sweep.ts";
import { ShareReport } from "./services/share_report.ts";
import { Reconciler } from "./services/reconciler.ts";
import { SocketLb } from "./services/socket_lb.ts";
import { KnownObjects } from "./upkeep/known_objects.ts";
import { onStop } from "./stopping.ts";
import { Upkeep } from "./upkeep/upkeep.ts";
import { NodeSettingsSource } from "./sources/node_settings.ts";
import { openSource, type SourceChoice } from "./sources/object_source.ts";

/** What exists before the parts. */
export interface Context {
  config: AgentConfig;
  choice: SourceChoice;
  reporter: ApiReporter;
  log: Log;
  nl: RtNetlink;
  dataPlane: DataPlane;
  startedAt: Date;
  /** For changes over HTTP: http/control.ts. */
  token: string;
  page: (config: AgentConfig, token: string, signal: AbortSignal) => Promise<Page>;
}

export interface Parts {
  events: Emitter<AgentEvents>;
  source: Source;
  nodeSettings: NodeSettingsSource;
  reconciler: Reconciler;
  healthCheckPorts: HealthCheckPorts;
  socketLb: SocketLb;
  sessionSweep: SessionSweep;
  shareReport: ShareReport;
  network: Network;
  podReadiness: PodReadiness;
  nodeNames: NodeNames;
  vpc: Vpc;
  uncheckedPods: UncheckedPods;
  known: KnownObjects;
  upkeep: Upkeep;
  metrics: Metrics;
  health: HealthServer;
  /** Delivers rtnetlink events from now on. */
  watchDevices(): void;
}

/** Makes the parts and connects them. Nothing happens before they are started; `stack` stops them, the last one first. */
export function makeParts(context: Context, stack: AsyncDisposableStack): Parts {
  const { config, choice, log } = context;
  const events = new Emitter<AgentEvents>((err, name) =>
    log.error({ event: "AgentFault", err }, `a part failed to take ${name}; the others go on`)
  );
  const source = openSource(choice, (changes, more = false) => {
    services.reconciler.more = more;
    events.emit("objects", changes);
  }, log);
  const changed = (nodes: readonly string[]) => events.emit("nodeSettings", nodes);
  const nodeSettings = new NodeSettingsSource(config, log, changed);
  const monitor = new RtMonitor((batch) => events.emit("rtnetlink", batch));
  onStop(stack, "monitor", () => monitor.close());
  const services = makeServices(context, events, () => source.complete, stack);
  const refusal = () => upkeep.faults.find(({ refuses }) => refuses)?.text;
  const node = makeNode(context, events, { nodeSettings, monitor, refusal }, stack);
  onStop(stack, "nodeSettings", () => nodeSettings.stop());
  onStop(stack, "source", () => source.close());
  const uncheckedPods = makeUncheckedPods(context, stack);
  const { known, upkeep } = makeUpkeep(context, events, services.socketLb);
  onStop(stack, "upkeep", () => upkeep.stop());
  const http = makeHttp(context, { source, nodeSettings, upkeep, ...services, ...node });
  onStop(stack, "health", () => http.health.stop());
  const watchDevices = () =>
    void monitor.run().catch((error) => {
      log.error(
        { err: error },
        "cannot watch devices and routes any more; they are checked now and then",
      );
    });
  const sources = { events, source, nodeSettings };
  const rows = { uncheckedPods, known, upkeep };
  const parts = { ...sources, ...services, ...node, ...rows, ...http, watchDevices };
  connect(parts, context);
  return parts;
}

/** Services and their endpoints. */
function makeServices(
  { config, dataPlane, log }: Context,
  events: Emitter<AgentEvents>,
  complete: () => boolean,
  stack: AsyncDisposableStack,
) {
  const { nodeName, lbAlgorithm, externalIPs, resync } = config;
  const reconciler = new Reconciler({
    maps: dataPlane.maps,
    nodeName,
    lbAlgorithm,
    externalIPs,
    log,
    resyncMs: resync * 1000,
    complete,
    synced: (sync) => events.emit("servicesSynced", sync),
    failed: () => events.emit("servicesFailed", undefined),
  });
  onStop(stack, "reconciler", () => reconciler.stop());
  const healthCheckPorts = new HealthCheckPorts({ log, healthy: () => reconciler.healthy });
  onStop(stack, "healthCheckPorts", () => healthCheckPorts.stop());
  const socketLb = new SocketLb(dataPlane, config, log);
  onStop(stack, "socketLb", () => socketLb.stop());
  const nameOf = (address: string) => podAt(config.stateDir, address);
  const sessionSweep = new SessionSweep({ maps: dataPlane.maps, log, nameOf });
  onStop(stack, "sessionSweep", () => sessionSweep.stop());
  const shareReport = new ShareReport({ maps: dataPlane.maps, log, nameOf });
  onStop(stack, "shareReport", () => shareReport.stop());
  return { reconciler, healthCheckPorts, socketLb, sessionSweep, shareReport };
}

/** `pod namespace/name` of an address on this node. */
function podAt(stateDir: string, address: string): string | undefined {
  const found = readAttachments(stateDir).find(({ addresses }) =>
    addresses.some((one) => one.address === address)
  );
  return found?.pod && `pod ${found.pod}`;
}

/** This node among the others, and towards Kubernetes. */
function makeNode(
  { config, choice, dataPlane, log, nl, reporter }: Context,
  events: Emitter<AgentEvents>,
  { nodeSettings, monitor, refusal }: {
    nodeSettings: NodeSettingsSource;
    monitor: RtMonitor;
    refusal: () => string | undefined;
  },
  stack: AsyncDisposableStack,
) {
  const settingsOf = (node: string) => nodeSettings.of(node);
  const network = new Network({
    dataPlane,
    nl,
    config,
    log,
    settingsOf,
    readEvents: () => monitor.read(),
    synced: () => events.emit("networkSynced", undefined),
  });
  onStop(stack, "network", () => network.stop());
  const podReadiness = new PodReadiness({
    config: { ...config, cniConfDir: cniConfDir(config, choice) },
    log,
    mtu: () => network.podMtu,
    condition: reporter.condition(log),
    refusal,
    plugins: new PluginVersions([
      config.cniBinDir ?? installedPluginFolder() ?? PLUGIN_FOLDERS[0]!,
      ...PLUGIN_FOLDERS,
    ]),
  });
  onStop(stack, "podReadiness", () => podReadiness.stop());
  const nodeNames = new NodeNames(dataPlane.maps.names, log);
  const { nodeName, stateDir } = config;
  const vpc = new Vpc({
    nodeName,
    stateDir,
    log,
    settingsOf,
    changed: (routes) => events.emit("vpcRoutes", routes),
  });
  onStop(stack, "vpc", () => vpc.stop());
  return { network, podReadiness, nodeNames, vpc };
}

/** Exemptions from `sourceCheck`. */
function makeUncheckedPods(
  { config, choice, dataPlane, log }: Context,
  stack: AsyncDisposableStack,
) {
  const records = new AttachmentCache(config.stateDir);
  const abort = new AbortController();
  onStop(stack, "uncheckedPods", () => abort.abort());
  return new UncheckedPods({
    config,
    devices: dataPlane.maps.pod_devices,
    records: () => records.read(),
    isExempt: "access" in choice
      ? (pod) => isSourceCheckOff(choice.access, pod, abort.signal)
      : undefined,
    log,
  });
}

/** The table of objects. */
function makeUpkeep(
  { config, choice, dataPlane, log, nl }: Context,
  events: Emitter<AgentEvents>,
  socketLb: SocketLb,
) {
  const { bridge, stateDir, overlay } = config;
  const conf = cniConfDir(config, choice);
  const known = new KnownObjects(stateDir, {
    bridge,
    cniConfDir: conf === "" ? undefined : conf,
    cniBinDir: config.cniBinDir ?? installedPluginFolder(),
    overlayDevice: overlay.device,
  });
  const upkeep = new Upkeep({
    ...{ dataPlane, nl, config, known, log },
    installHostlb: () => socketLb.install(),
    everySecond: () => events.emit("second", undefined),
    mended: (row) => events.emit("objectMended", row),
    changed: () => events.emit("objectsChecked", undefined),
  });
  return { known, upkeep };
}

function makeHttp(
  { config, choice, dataPlane: { maps }, log, startedAt, token, page: load }: Context,
  parts: CheckedParts & Pick<Parts, "source" | "nodeSettings">,
) {
  const checks = () => agentChecks(parts);
  const { source, nodeSettings } = parts;
  const watches =
    () => [...source.watches ?? [], ...nodeSettings.watch ? [nodeSettings.watch] : []];
  const metrics = new Metrics({
    maps,
    checks,
    watches,
    cniCalls: () => takeCalls(config.bpffs),
    nameOf: (address) => podAt(config.stateDir, address),
    build: readBuild(),
    startedAt: startedAt.getTime(),
  });
  const state = () => agentState(log.level, config, choice, watches());
  const health = new HealthServer({
    address: config.healthAddress,
    checks,
    metrics: () => metrics.collect(),
    control: (request, peer) => controlReply(request, peer, { token, log, state }),
    page: config.ui ? new UiPage((signal) => load(config, token, signal)) : undefined,
    log,
  });
  return { metrics, health };
}

/** Which event leads where. The listeners of one event run in this order. */
function connect(parts: Parts, { log, config, dataPlane }: Context) {
  const { events, reconciler, healthCheckPorts, socketLb, metrics } = parts;
  const { nodeSettings, network, nodeNames, podReadiness, vpc, known, upkeep } = parts;
  const { uncheckedPods } = parts;
  const hiddenHostPorts = new HiddenHostPorts(dataPlane.maps, log);
  events.on(
    "objects",
    (changes) => nodeSettings.changes(changes), // before those that ask it
    (changes) => reconciler.changes(changes),
    (changes) => network.changes(changes),
    (changes) => nodeNames.changes(changes),
    (changes) => known.changes(changes, config.nodeName),
    (changes) => podReadiness.changes(changes),
    (changes) => vpc.changes(changes),
  );
  events.on(
    "nodeSettings",
    () => network.settingsChanged(),
    (nodes) => vpc.settingsChanged(nodes),
  );
  events.on(
    "configFile",
    (keys) => keys.includes("logLevel") && (log.level = config.logLevel),
    () => network.settingsChanged(),
  );
  events.on("vpcRoutes", (routes) => network.vpcChanged(routes));
  events.on(
    "rtnetlink",
    (batch) => network.handle(batch),
    (batch) => upkeep.handle(batch),
  );
  events.on(
    "networkSynced",
    () => known.podMtu = network.podMtu,
    () => podReadiness.look(),
  );
  events.on("objectsChecked", () => podReadiness.look());
  events.on("second", () => network.look(), () => reconciler.look(), () => uncheckedPods.look());
  events.on("objectMended", (row) => metrics.objectMended(row));
  events.on(
    "servicesSynced",
    ({ healthChecks }) => healthCheckPorts.update(healthChecks),
    ({ changed }) => changed && socketLb.changed(),
    () => hiddenHostPorts.check(),
    (sync) => metrics.synced(sync),
  );
  events.on("servicesFailed", () => metrics.syncFailed());
}

/** Where the CNI configuration goes; with manifests nowhere unless the setting says so. */
function cniConfDir(config: AgentConfig, choice: SourceChoice): string | undefined {
  return config.cniConfDir ?? ("access" in choice ? "/etc/cni/net.d" : undefined);
}
