/**
 * The node agent. Start order: state directory and lock, data plane, devices, cluster objects, routes and configuration,
 * first full sync of the maps, the node's own sockets, the CNI configuration; then agent.json says `ready`. The data plane
 * outlives the agent.
 *
 * The folders, in the order in which data passes through them:
 *   sources/   Kubernetes API, manifests and etcd: objects and settings in, typed changes out
 *   services/  Services and their endpoints: the reconciler, the maps it writes, sessions and sockets it ends
 *   network/   this node among the others: uplinks, masquerade, addresses, VPC
 *   routing/   routes, the overlay device and sysctls: what the kernel holds, and the steps that change it
 *   devices/   the pods' devices: programs that are missing, endpoints that are gone
 *   node/      this node's Node object: conflist, condition, Events
 *   maps/      sizes, names and small maps that are written whole
 *   http/      health, metrics, control, the page
 */
import { join } from "node:path";
import type { DataPlane } from "../bpf/dataplane.ts";
import { installDataPlane } from "../bpf/install.ts";
import { warnings } from "../config/check.ts";
import type { AgentConfig } from "../config/schema.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { ApiReporter } from "./node/api_reporter.ts";
import { chooseSource } from "./sources/object_source.ts";
import { ConfigWatch } from "./sources/config_watch.ts";
import { LockedError, lockFile } from "../node/lock.ts";
import { createLog, type Log } from "./log.ts";
import { mapCapacities } from "./maps/sizes.ts";
import { Memory } from "./memory.ts";
import type { Network } from "./network/network.ts";
import type { PageMaker } from "./http/page.ts";
import { Parts } from "./parts.ts";
import { checkSnatPorts } from "./network/reserved_ports.ts";
import { removeState, writeState } from "../node/state_files.ts";
import { checkUplinks } from "./network/uplinks.ts";

export interface AgentOptions {
  /** Ends the agent. */
  signal: AbortSignal;
  /** The configuration file that is followed, and how it is read again; undefined: there is none. */
  configFile?: { file: string; load: () => AgentConfig };
  /** Makes what answers below /ui/, when that is wanted. */
  page?: PageMaker;
}

/**
 * Runs the agent until `signal` is aborted.
 *
 * @throws Error with a message for the user when it cannot start: what is wrong, and where
 */
export async function runAgent(config: AgentConfig, { signal, configFile, page }: AgentOptions) {
  const { stateDir } = config;
  const choice = chooseSource(config); // like all that can be wrong with the call: before anything is changed
  if (Deno.uid() !== 0) throw new Error("the agent loads eBPF programs: it must run as root");
  const startedAt = new Date().toISOString();
  await using stack = new AsyncDisposableStack();
  const link = stack.use(new ApiReporter(choice, config.nodeName));
  const log = createLog(config.logLevel, config.nodeName, link.tell);
  for (const text of warnings(config)) log.warn({ event: "Setting" }, text);
  stack.use(lockStateDir(stateDir));
  const nl = stack.use(RtNetlink.open());
  checkUplinks(nl, config.uplink); // a wrong name ends it here, before anything is changed
  checkSnatPorts(config.snatPorts, stateDir);
  const dataPlane = stack.use(install(config, nl, log));
  writeState(stateDir, "datapath", { attach: config.attach, pid: Deno.pid });
  const token = crypto.randomUUID();
  const known = { config, choice, link, log, nl, dataPlane, ...(page && { page }) };
  const ground = { ...known, startedAt: Date.parse(startedAt), token };
  const parts = stack.use(new Parts(ground));
  await start(parts, signal);
  if (signal.aborted) return;
  if (configFile !== undefined) stack.use(followConfig(configFile, config, parts.network, log));
  stack.use(tellReady(config, startedAt, token));
  const memory = new Memory();
  stack.defer(() => memory.stop());
  memory.start();
  log.info({ pid: Deno.pid }, "ready");
  await aborted(signal);
  log.info("ending; the data plane stays in place");
}

/** Starts the parts one after the other. Ends early when the signal is aborted. */
async function start(parts: Parts, signal: AbortSignal): Promise<void> {
  parts.health.start();
  await parts.devices.start();
  await parts.nodeSettings.start();
  await Promise.race([parts.source.start(), aborted(signal)]); // the API server may be away for long
  if (signal.aborted) return;
  parts.vpc.start();
  parts.network.start();
  parts.nodeNames.start();
  parts.reconciler.start();
  parts.socketLb.start();
  parts.podReadiness.start(); // from here on pods may come
}

/** Says in agent.json that the agent is ready, and how it was called, for other commands. */
function tellReady(config: AgentConfig, startedAt: string, token: string): Disposable {
  const { stateDir, healthAddress, nodeName, manifests, kubeconfig } = config;
  const told = { healthAddress, nodeName, manifests, kubeconfig, token };
  writeState(stateDir, "agent", { pid: Deno.pid, startedAt, ready: true, ...told });
  return { [Symbol.dispose]: () => removeState(stateDir, "agent") };
}

/** Makes the state directory, for root only, and locks it for one agent. */
function lockStateDir(stateDir: string): Disposable {
  Deno.mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  Deno.chmodSync(stateDir, 0o700);
  try {
    const lock = lockFile(join(stateDir, "agent.lock"));
    removeState(stateDir, "agent"); // of an agent that was killed
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
  const changed = (keys: readonly string[]) => {
    if (keys.includes("logLevel")) log.level = config.logLevel;
    network.settingsChanged();
  };
  const watch = new ConfigWatch({ ...configFile, config, log, changed });
  watch.start();
  return { [Symbol.dispose]: () => watch.stop() };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((done) => signal.addEventListener("abort", () => done(), { once: true }));
}
