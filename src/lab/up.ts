/** `lab up`: creates a lab, and waits until its Services respond. */
import { conflist } from "../node/conflist.ts";
import { PluginVersions } from "../node/plugin_versions.ts";
import { replaceFile } from "../node/files.ts";
import { prepareNode, startAgent } from "./agents.ts";
import { downLab } from "./down.ts";
import { installSelf, selfCommand } from "./executable.ts";
import { LabHandle } from "./lab.ts";
import { isThere } from "../node/files.ts";
import { findCgroup2 } from "../linux/mounts.ts";
import { createFabric, createNode, createOutside } from "./network.ts";
import { startOutside } from "./outside.ts";
import { DEFAULT_OPTIONS, type LabOptions, type LabPlan, type NodePlan, planLab } from "./plan.ts";
import { addPod, startServer } from "./pods.ts";
import { findPlugins, findPrograms, refuseLeftovers, requireRoot } from "./preflight.ts";
import { type Progress, silent } from "./progress.ts";
import { readyPods, settle, writeManifests } from "./services.ts";
import { LabStore } from "./state.ts";
import { inParallel } from "./wait.ts";

/** Options of `upLab`; what is left out has its default (DEFAULT_OPTIONS). */
export interface UpOptions extends Partial<LabOptions> {
  progress?: Progress;
  /** Aborting removes what was created so far. */
  signal?: AbortSignal;
  /** Command line that starts pcnk; by default this executable. */
  command?: string[];
}

/** Nodes that are set up at the same time; the kernel loads programs one after the other. */
const PARALLEL_NODES = 2;

/**
 * Creates a lab. After a failure, or when the signal is aborted, removes it and throws the error.
 *
 * @throws LabExistsError when one of that name is up or left over; RangeError for options out of range.
 */
export async function upLab(options: UpOptions = {}): Promise<LabHandle> {
  const { progress = silent, signal, command = selfCommand(), ...rest } = options;
  const plan = planLab({ ...DEFAULT_OPTIONS, ...rest });
  requireRoot();
  findPrograms();
  if (!isThere(plan.dir)) refuseLeftovers(plan.options.name);
  const machine = { command, plugins: findPlugins(), cgroupRoot: findCgroup2() };
  const store = LabStore.create(plan, machine);
  try {
    await makeNetwork(store, progress, signal);
    await startAgents(store, progress, signal);
    await addPods(store, progress, signal);
    await publish(store, progress, signal);
    store.update((state) => state.phase = "up");
    return new LabHandle(store);
  } catch (error) {
    await undo(plan.options.name, progress);
    throw error;
  }
}

/** A failure here does not hide the one that led here. */
async function undo(name: string, progress: Progress): Promise<void> {
  try {
    await progress.step("undo", () => downLab(name), () => "nothing left");
  } catch (error) {
    progress.note(`not everything could be removed: ${(error as Error).message}`);
  }
}

function makeNetwork({ plan }: LabStore, progress: Progress, signal?: AbortSignal): Promise<void> {
  const { fabric, nodes, outside } = plan;
  return progress.step("network", () => {
    createFabric(fabric);
    createOutside(fabric, outside);
    for (const node of nodes) {
      signal?.throwIfAborted();
      createNode(fabric, node);
    }
    return Promise.resolve();
  }, () => `${nodes.length} nodes on ${fabric.gateway}/${fabric.prefixLength}`);
}

function startAgents(store: LabStore, progress: Progress, signal?: AbortSignal): Promise<void> {
  const { plan } = store;
  return progress.step("agents", async (step) => {
    installSelf(plan.bin, store.state.command);
    writeManifests(store, []);
    let ready = 0;
    await inParallel(plan.nodes, PARALLEL_NODES, async (node) => {
      prepareNode(store, node);
      await writeConflist(plan, node);
      await startAgent(store, node, signal);
      step.update(`${++ready}/${plan.nodes.length}`);
    });
  }, () => `${plan.nodes.length} ready`);
}

async function writeConflist({ podMtu }: LabPlan, node: NodePlan): Promise<void> {
  const { podCIDR, bpffs, dir, ipam } = node;
  const list = conflist({
    podCIDR,
    bpffs,
    stateDir: dir,
    ipamDataDir: ipam,
    mtu: podMtu,
  });
  list.cniVersion = await new PluginVersions().common(list);
  replaceFile(node.conflist, JSON.stringify(list, null, 2) + "\n");
}

function addPods(store: LabStore, progress: Progress, signal?: AbortSignal): Promise<void> {
  const { nodes } = store.plan;
  const count = nodes.reduce((sum, node) => sum + node.pods.length, 0);
  return progress.step("pods", async (step) => {
    let ready = 0;
    const work = nodes.map((node) => () =>
      addPodsOf(store, node, () => step.update(`${++ready}/${count}`), signal)
    );
    await inParallel([() => startOutside(store, signal), ...work], PARALLEL_NODES, (one) => one());
  }, () => `${count} wired by bridge, host-local and pcnk`);
}

async function addPodsOf(
  store: LabStore,
  node: NodePlan,
  ready: () => void,
  signal?: AbortSignal,
): Promise<void> {
  const servers: Promise<void>[] = [];
  try {
    for (const pod of node.pods) {
      signal?.throwIfAborted();
      await addPod(store, pod);
      servers.push(startServer(store, pod.name, signal).then(ready));
    }
  } finally {
    await Promise.allSettled(servers);
  }
  await Promise.all(servers);
}

async function publish(store: LabStore, progress: Progress, signal?: AbortSignal): Promise<void> {
  await progress.step("services", async () => {
    const services = writeManifests(store, readyPods(store));
    await settle(store, services, signal);
    return services.length;
  }, (count) => `${count} in the maps of every node`);
}
