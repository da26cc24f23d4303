/** The pods of a lab: namespace, CNI ADD, a server inside; and the way back. */
import { nodePlace } from "./agents.ts";
import { attachPod, detachPod } from "./attachment.ts";
import { createPodNetns } from "./network.ts";
import { deleteNetns } from "../linux/netns.ts";
import { type NodePlan, planPod, type PodPlan } from "./plan.ts";
import { endProcess, netnsKey, processesIn, type ProcessId } from "./process.ts";
import { launchServer } from "./server.ts";
import type { Place } from "./spawn.ts";
import type { LabStore, PodState, PortMapping } from "./state.ts";

/** What a process in a pod has between SIGTERM and SIGKILL. */
const GRACE_MS = 1000;

/** Where processes of a pod run: its namespace, and a cgroup below its node's. */
export function podPlace(store: LabStore, { name, node }: { name: string; node: string }): Place {
  const { netnsPath } = planPod(store.plan.options.name, node, name);
  const owner = nodeOf(store, node);
  const above = nodePlace(store, owner).cgroup;
  return { netnsPath, cgroup: above === null ? null : `${above}/${name}` };
}

/** @throws Error when the lab has no such node. */
export function nodeOf(store: LabStore, name: string): NodePlan {
  const node = store.plan.nodes.find((each) => each.name === name);
  if (!node) throw new Error(`no node ${JSON.stringify(name)} in lab ${store.plan.options.name}`);
  return node;
}

/**
 * Makes a pod as a container runtime does: namespace, then CNI ADD. Its server is started apart.
 *
 * @throws Error with the plugin's own words when ADD fails.
 */
export async function addPod(
  store: LabStore,
  pod: PodPlan,
  portMappings: PortMapping[] = [],
): Promise<PodState> {
  const { name, node } = pod;
  if (store.state.pods[name]) throw new Error(`pod ${name} is there already`);
  // First, so that a crash from here on is followed by a DEL.
  store.update((state) => state.pods[name] = { name, node, address: "", veth: "", portMappings });
  const { cgroup } = podPlace(store, pod);
  if (cgroup !== null) Deno.mkdirSync(cgroup, { recursive: true });
  createPodNetns(pod.netns, pod.netnsPath);
  const wired = await attachPod(store, nodeOf(store, node), pod, portMappings);
  const state: PodState = { name, node, ...wired, portMappings };
  store.update(({ pods }) => pods[name] = state);
  return state;
}

/** Starts the pod's server and waits until it listens. The server goes on when the caller ends. */
export async function startServer(store: LabStore, name: string, signal?: AbortSignal) {
  const pod = podState(store, name);
  await launchServer({
    name,
    place: podPlace(store, pod),
    log: `${nodeOf(store, pod.node).dir}/${name}.log`,
    command: store.state.command,
    started: (server) => store.update(() => pod.server = server),
  }, signal);
}

/** Ends the pod's server and waits until it is gone. */
export async function stopServer(store: LabStore, name: string): Promise<void> {
  const pod = podState(store, name);
  if (pod.server) await endProcess(pod.server, GRACE_MS);
  store.update(() => delete pod.server);
}

/**
 * Removes a pod as a container runtime does: all its processes, CNI DEL, the namespace. Whatever is gone already is no
 * error.
 *
 * @throws Error with the plugin's own words when DEL fails; the pod is gone even so.
 */
export async function deletePod(store: LabStore, pod: PodPlan): Promise<void> {
  await endAllIn([pod.netnsPath]);
  try {
    await detachPod(store, nodeOf(store, pod.node), pod, store.state.pods[pod.name] ?? {});
  } finally {
    deleteNetns(pod.netns);
    removeCgroup(podPlace(store, pod).cgroup);
    store.update((state) => delete state.pods[pod.name]);
  }
}

/** Ends every process in these namespaces, also those that no file names. */
export async function endAllIn(netnsPaths: string[]): Promise<void> {
  const keys = netnsPaths.map(netnsKey).filter((key) => key !== undefined);
  if (keys.length > 0) await endAll(processesIn(new Set(keys)));
}

/** Ends these processes. */
export async function endAll(processes: ProcessId[]): Promise<void> {
  await Promise.all(processes.map((id) => endProcess(id, GRACE_MS)));
}

/** Removes an empty cgroup with those below it. */
export function removeCgroup(path: string | null): void {
  if (path === null) return;
  try {
    for (const { name, isDirectory } of Deno.readDirSync(path)) {
      if (isDirectory) removeCgroup(`${path}/${name}`);
    }
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function podState(store: LabStore, name: string): PodState {
  const pod = store.state.pods[name];
  if (!pod) throw new Error(`no pod ${JSON.stringify(name)} in lab ${store.plan.options.name}`);
  return pod;
}
