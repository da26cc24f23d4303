/**
 * The node agent. Start order: state directory and lock, data plane, devices, cluster objects, routes and configuration,
 * first comparison with the maps, the node's own sockets, the CNI configuration; then it says that it is ready. When it ends, however it ends, the data plane goes on.
 */
import { join } from "node:path";
import { readBuild } from "../bpf/artifacts.ts";
import type { DataPlane } from "../bpf/dataplane.ts";
import { installDataPlane } from "../bpf/install.ts";
import { warnings } from "../config/check.ts";
import type { AgentConfig } from "../config/schema.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { agentChecks } from "./checks.ts";
import { ClusterLink } from "./cluster_link.ts";
import { ClusterNode } from "./cluster_node.ts";
import { chooseSource, openSource, type SourceChoice } from "./cluster_source.ts";
import { ConfigWatch } from "./config_watch.ts";
import { Devices } from "./devices.ts";
import { HostServices } from "./host_services.ts";
import { HealthServer } from "./health.ts";
import { HealthCheckServer } from "./health_check.ts";
import { LockedError, lockFile } from "./lock.ts";
import { createLog, type Log } from "./log.ts";
import { Memory } from "./memory.ts";
import { Metrics } from "./metrics.ts";
import { NodeNames } from "./names.ts";
import { mapCapacities } from "./map_sizes.ts";
import { Network } from "./network.ts";
import { NodeSettingsLink } from "./node_settings.ts";
import { Reconciler } from "./reconciler.ts";
import { checkSnatPorts } from "./reserved_ports.ts";
import { Vpc } from "./vpc.ts";
import { removeStateFile, writeStateFile } from "./state_files.ts";
import { checkUplinks } from "./uplink.ts";

/** Milliseconds between looks at all devices. */
const deviceCheckMs = 30_000;

export interface AgentOptions {
  /** Ends the agent. */
  signal: AbortSignal;
  /** The configuration file that is followed, and how it is read again; undefined: there is none. */
  configFile?: { file: string; load: () => AgentConfig };
}

/**
 * Runs the agent until `signal` is aborted.
 *
 * @throws Error with a message for the user when it cannot start: what is wrong, and where
 */
export async function runAgent(config: AgentConfig, { signal, configFile }: AgentOptions) {
  const { stateDir } = config;
  const choice = chooseSource(config); // like all that can be wrong with the call: before anything is changed
  if (Deno.uid() !== 0) throw new Error("the agent loads eBPF programs: it must run as root");
  const startedAt = new Date().toISOString();
  await using stack = new AsyncDisposableStack();
  const link = stack.use(new ClusterLink(choice, config.nodeName));
  const log = createLog(config.logLevel, config.nodeName, link.tell);
  for (const text of warnings(config)) log.warn({ event: "Setting" }, text);
  stack.use(lockStateDir(stateDir));
  const nl = stack.use(RtNetlink.open());
  checkUplinks(nl, config.uplink); // a wrong name ends it here, before anything is changed
  checkSnatPorts(config.snatPorts, stateDir);
  const dataPlane = stack.use(install(config, nl, log));
  const reconciler = new Reconciler({
    maps: dataPlane.maps,
    nodeName: config.nodeName,
    lbAlgorithm: config.lbAlgorithm,
    log,
    resyncMs: config.resync * 1000,
    complete: () => source.complete,
    changed: () => hostServices.changed(),
    healthChecks: (checks) => healthChecks.update(checks),
    measured: (round) => metrics.round(round),
  });
  stack.defer(() => reconciler.stop());
  const healthChecks = new HealthCheckServer({ log, healthy: () => reconciler.healthy });
  stack.defer(() => healthChecks.stop());
  const hostServices = new HostServices(dataPlane, config, log);
  stack.defer(() => hostServices.stop());
  const network = new Network({
    dataPlane,
    nl,
    config,
    log,
    settled: () => clusterNode.networkChanged(),
  });
  stack.defer(() => network.stop());
  const clusterNode = new ClusterNode({
    config: { ...config, cniConfDir: cniConfDir(config, choice) },
    log,
    mtu: () => network.podMtu,
    condition: link.condition(log),
  });
  stack.defer(() => clusterNode.stop());
  const nodeNames = new NodeNames(dataPlane.maps.names, log);
  const vpc = new Vpc({
    nodeName: config.nodeName,
    stateDir,
    log,
    changed: (routes) => network.vpcChanged(routes),
  });
  stack.defer(() => vpc.stop());
  const nodeSettings = new NodeSettingsLink(
    config,
    [reconciler, network, nodeNames, clusterNode, vpc],
    log,
  );
  stack.defer(() => nodeSettings.stop());
  const source = openSource(choice, [nodeSettings], log);
  stack.defer(() => source.close());
  const checks = () => agentChecks({ reconciler, network, source, clusterNode, nodeSettings, vpc });
  const metrics = new Metrics({
    maps: dataPlane.maps,
    checks,
    build: readBuild(),
    startedAt: Date.parse(startedAt),
  });
  const health = new HealthServer({
    address: config.healthAddress,
    checks,
    metrics: () => metrics.collect(),
    log,
  });
  stack.defer(() => health.stop());
  const devices = new Devices({
    dataPlane,
    nl,
    stateDir,
    attach: config.attach,
    log,
    bridge: config.bridge,
    changed: () => network.devicesChanged(),
    checkMs: deviceCheckMs,
  });
  stack.defer(() => devices.stop());
  writeStateFile(stateDir, "datapath.json", { attach: config.attach, pid: Deno.pid });
  health.start();
  await devices.start();
  await nodeSettings.start();
  await Promise.race([source.start(), aborted(signal)]); // the API server may be away for long
  if (signal.aborted) return;
  vpc.start();
  network.start();
  nodeNames.start();
  reconciler.start();
  hostServices.start();
  clusterNode.start(); // from here on pods may come
  if (configFile !== undefined) stack.use(followConfig(configFile, config, network, log));
  const { healthAddress, nodeName, manifests, kubeconfig } = config;
  const told = { healthAddress, nodeName, manifests, kubeconfig };
  writeStateFile(stateDir, "agent.json", { pid: Deno.pid, startedAt, ready: true, ...told });
  stack.defer(() => removeStateFile(stateDir, "agent.json"));
  const memory = new Memory();
  stack.defer(() => memory.stop());
  memory.start();
  log.info({ pid: Deno.pid }, "ready");
  await aborted(signal);
  log.info("ending; the data plane stays in place");
}

/** Makes the state directory, for root only, and locks it for one agent. */
function lockStateDir(stateDir: string): Disposable {
  Deno.mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  Deno.chmodSync(stateDir, 0o700);
  try {
    const lock = lockFile(join(stateDir, "agent.lock"));
    removeStateFile(stateDir, "agent.json"); // of an agent that was killed
    return { [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
    throw new Error(
      `another agent runs on this node: ${error.message}; end it, or give --state-dir and --bpffs of its own`,
    );
  }
}

function install(config: AgentConfig, nl: RtNetlink, log: Log): DataPlane {
  const { bpffs } = config;
  const mapSizes = mapCapacities(config.mapSizes);
  const dataPlane = installDataPlane({ bpffs, mapSizes, nl, log: (text) => log.info(text) });
  log.info({ bpffs }, "data plane is installed");
  return dataPlane;
}

/** Live settings take effect from now on when the file changes. */
function followConfig(
  configFile: NonNullable<AgentOptions["configFile"]>,
  config: AgentConfig,
  network: Network,
  log: Log,
): Disposable {
  const changed = () => {
    log.level = config.logLevel;
    network.settingsChanged();
  };
  const watch = new ConfigWatch({ ...configFile, config, log, changed });
  watch.start();
  return { [Symbol.dispose]: () => watch.stop() };
}

/** Where the CNI configuration goes; with manifests nowhere unless it is said. */
function cniConfDir(config: AgentConfig, choice: SourceChoice): string | undefined {
  return config.cniConfDir ?? ("access" in choice ? "/etc/cni/net.d" : undefined);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((done) => signal.addEventListener("abort", () => done(), { once: true }));
}
