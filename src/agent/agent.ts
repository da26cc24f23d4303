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
 *   upkeep/    the table of src/upkeep/: every object that pcnk made or needs, checked and mended
 *   node/      this node's Node object: conflist, condition, Events
 *   maps/      sizes, names and small maps that are written whole
 *   http/      health, metrics, control, the page
 * parts.ts makes the parts; `connect()` there says which event leads where.
 */
import { join } from "node:path";
import type { Installation } from "../bpf/install.ts";
import { warnings } from "../config/check.ts";
import type { AgentConfig } from "../config/schema.ts";
import { collectGarbage, trimMemory } from "../linux/malloc.ts";
import { isCgroup2, mountOwnCgroup2, OWN_CGROUP2 } from "../linux/mount.ts";
import { checkOwner } from "../linux/owner.ts";
import { cgroup2For, CGROUP_ROOT } from "../linux/mounts.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { LockedError, lockFile } from "../node/lock.ts";
import { readState, refuseNewerState, removeState } from "../node/state_files.ts";
import { startDataPlane } from "./data_plane.ts";
import { createLog, type Log } from "./log.ts";
import { checkPorts } from "./network/reserved_ports.ts";
import { ApiReporter } from "./node/api_reporter.ts";
import { type Context, makeParts, type Parts } from "./parts.ts";
import { ConfigWatch } from "./sources/config_watch.ts";
import { guardProcess, keepState } from "./process_guard.ts";
import { awaitNodeBpffs } from "../bpf/node_bpffs.ts";
import { chooseSource } from "./sources/object_source.ts";
import { boundStop } from "./stopping.ts";

interface AgentOptions {
  /** Ends the agent. */
  signal: AbortSignal;
  /** The configuration file to follow, and how to read it again. */
  configFile?: { file: string; load: () => AgentConfig };
  /** Loads the page of the setting `ui`. */
  page: Context["page"];
}

/**
 * Runs the agent until `signal` is aborted.
 *
 * @throws Error with a message for the user when it cannot start
 */
export async function runAgent(config: AgentConfig, { signal, configFile, page }: AgentOptions) {
  const { stateDir } = config;
  // Whatever can be wrong with the call comes before anything is changed.
  const choice = chooseSource(config);
  if (Deno.uid() !== 0) throw new Error("the agent loads eBPF programs: it must run as root");
  locateCgroup(config);
  const startedAt = new Date();
  await using stack = new AsyncDisposableStack();
  const reporter = new ApiReporter(choice, config.nodeName);
  const log = createLog(config.logLevel, config.nodeName, reporter.report);
  stack.use(boundStop(signal, log));
  stack.use(reporter);
  stack.use(guardProcess(log));
  for (const text of warnings(config)) log.warn({ event: "Setting" }, text);
  refuseNewerState(stateDir);
  stack.use(lockStateDir(stateDir));
  const nl = stack.use(RtNetlink.open());
  checkPorts(config, stateDir);
  await awaitNodeBpffs(config.bpffs, signal);
  const installation = await startDataPlane({ config, nl, log, signal });
  if (installation === undefined) return;
  stack.use(installation);
  const dataPlane = stack.use(installation.dataPlane);
  const limits = readState(stateDir, "datapath")?.limits; // until they are read again (src/upkeep/cni.ts)
  stack.use(keepState(stateDir, "datapath", { attach: config.attach, pid: Deno.pid, limits }, log));
  const token = crypto.randomUUID();
  const context = { config, choice, reporter, log, nl, dataPlane, startedAt, token, page };
  const parts = makeParts(context, stack);
  await start(parts, installation, config, signal);
  if (signal.aborted) return;
  if (configFile !== undefined) {
    const changed = (keys: readonly string[]) => parts.events.emit("configFile", keys);
    const { file, load } = configFile;
    const located = () => locateCgroup(load());
    const watch = new ConfigWatch({ file, load: located, config, log, changed });
    stack.defer(() => watch.stop());
    watch.start();
  }
  stack.use(writeReady(config, startedAt, token, log));
  stack.use(trimRegularly());
  log.info({ pid: Deno.pid }, "ready");
  await aborted(signal);
  log.info("stopping; the data plane stays in place");
}

/** Leads the setting `cgroup` to where cgroup v2 is, or is mounted now; without any it stays, and hostlb says so. */
function locateCgroup(config: AgentConfig): AgentConfig {
  const { cgroup, socketLB } = config;
  const found = cgroup2For(cgroup, isCgroup2);
  if (found !== undefined) config.cgroup = found;
  else if (cgroup === CGROUP_ROOT && socketLB !== "off") {
    try {
      mountOwnCgroup2();
      config.cgroup = OWN_CGROUP2;
    } catch {
      // A kernel without cgroups, or a container without the right to mount.
    }
  }
  return config;
}

/** Starts the parts one after the other. Returns early when the signal is aborted. */
async function start(
  parts: Parts,
  installation: Installation,
  { cgroup }: AgentConfig,
  signal: AbortSignal,
): Promise<void> {
  parts.health.start();
  await parts.upkeep.start();
  parts.watchDevices();
  await parts.nodeSettings.start();
  await Promise.race([parts.source.start(), aborted(signal)]); // the API server may be away for long
  if (signal.aborted) return;
  parts.vpc.start();
  parts.network.start();
  parts.nodeNames.start();
  await parts.reconciler.start();
  if (signal.aborted) return;
  installation.activate(); // if it waited for the maps
  parts.socketLb.start();
  if (parts.socketLb.installed) parts.known.cgroup = cgroup;
  await parts.upkeep.pinsChanged(); // addresses in use are reserved
  parts.sessionSweep.start();
  parts.shareReport.start();
  await parts.podReadiness.start(); // from here on pods may come
}

/** Writes agent.json, from which other commands learn that the agent is ready and how it was started. */
function writeReady(config: AgentConfig, startedAt: Date, token: string, log: Log): Disposable {
  const { stateDir, healthAddress, nodeName, manifests, kubeconfig, externalIPs } = config;
  const kept = keepState(stateDir, "agent", {
    pid: Deno.pid,
    startedAt: startedAt.toISOString(),
    ready: true,
    ...{ healthAddress, nodeName, manifests, kubeconfig, externalIPs, token },
  }, log);
  return {
    [Symbol.dispose]() {
      kept[Symbol.dispose]();
      removeState(stateDir, "agent");
    },
  };
}

/**
 * Makes the state directory, for root only, and locks it for one agent.
 * @throws {Error} also when other users could have made or filled it
 */
function lockStateDir(stateDir: string): Disposable {
  Deno.mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  checkOwner("stateDir", stateDir); // records in it are believed
  Deno.chmodSync(stateDir, 0o700);
  try {
    const lock = lockFile(join(stateDir, "agent.lock"));
    removeState(stateDir, "agent"); // of an agent that was killed
    return { [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
    throw new Error(
      `another agent runs on this node: ${error.message}; stop it, or give --state-dir and --bpffs of its own`,
    );
  }
}

/**
 * Returns memory to the kernel: soon, when the first lists of objects are garbage, then every five minutes what was freed
 * meanwhile, and V8's heap if it has grown. V8's own way to do so is turned off (`--no-memory-reducer`, src/build/build.ts): it
 * comes eight seconds later, and with a large cluster its steps take a third of a second of an agent that has nothing to do.
 */
function trimRegularly(): Disposable {
  let timer: ReturnType<typeof setTimeout>;
  let heap = 0;
  const trimIn = (ms: number) => timer = setTimeout(trim, ms);
  const trim = () => {
    if (Deno.memoryUsage().heapTotal > 1.3 * heap) {
      collectGarbage();
      heap = Deno.memoryUsage().heapTotal;
    }
    if (trimMemory()) trimIn(300_000);
  };
  trimIn(3000);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((done) => signal.addEventListener("abort", () => done(), { once: true }));
}
