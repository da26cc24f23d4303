/** The agents of a lab: one `pcnk agent` in each node's namespace. */
import { stringify } from "yaml";
import { mountBpffs } from "../linux/mount.ts";
import { replaceFile } from "../node/files.ts";
import { readState, removeState } from "../node/state_files.ts";
import type { NodePlan } from "./plan.ts";
import { type Ending, endProcess, identify, isAlive } from "./process.ts";
import { commandAt, type Place } from "./spawn.ts";
import type { LabStore } from "./state.ts";
import { within } from "./wait.ts";

/** Loading and verifying all programs takes a second, in an emulated machine half a minute; several agents start at once. */
const READY_MS = 180_000;

/** What an agent that has the time does between SIGTERM and its end takes far less. */
const GRACE_MS = 5000;

/** Where processes of the node itself run. */
export function nodePlace(store: LabStore, node: NodePlan): Place {
  return { netnsPath: node.netnsPath, cgroup: store.cgroup(node.cgroup) };
}

/** Makes the node's folders, its bpffs, its cgroup and the agent's configuration. */
export function prepareNode(store: LabStore, node: NodePlan): void {
  Deno.mkdirSync(node.dir, { recursive: true, mode: 0o700 });
  mountBpffs(node.bpffs);
  const cgroup = store.cgroup(node.cgroup);
  if (cgroup !== null) Deno.mkdirSync(cgroup, { recursive: true });
  const { attach, routing } = store.plan.options;
  replaceFile(
    node.agentConfig,
    stringify({
      nodeName: node.name,
      bpffs: node.bpffs,
      stateDir: node.dir,
      attach,
      routing,
      cgroup: cgroup ?? undefined,
    }),
  );
}

/**
 * Starts a node's agent and waits until it says that it is ready. The agent goes on when the caller ends.
 *
 * @throws Error with the end of the agent's log when it ends, or is not ready in time.
 */
export async function startAgent(store: LabStore, node: NodePlan, signal?: AbortSignal) {
  const { manifests } = store.plan;
  const command = [...store.state.command, "agent", "--manifests", manifests];
  removeState(node.dir, "agent");
  using watcher = Deno.watchFs(node.dir, { recursive: false });
  const child = commandAt(nodePlace(store, node), [...command, "--config", node.agentConfig], {
    log: node.agentLog,
    detached: true,
    cwd: "/",
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  child.unref();
  const id = identify(child.pid);
  if (id) store.update((state) => state.agents[node.name] = id);
  const ended = child.status.then(({ code }) => {
    throw new Error(`ended with code ${code}`);
  });
  const ready = Promise.race([becomesReady(watcher, node, child.pid), ended]);
  try {
    await within(READY_MS, `was not ready after ${READY_MS / 1000} s`, ready, signal);
  } catch (error) {
    signal?.throwIfAborted();
    const log = tail(node.agentLog);
    throw new Error(`the agent of ${node.name} ${(error as Error).message}; its log ends:\n${log}`);
  }
}

/** Resolves when the agent's own word is there; the file is asked once before the first event and after each. */
async function becomesReady(events: AsyncIterable<unknown>, node: NodePlan, pid: number) {
  if (isReady(node, pid)) return;
  for await (const _event of events) {
    if (isReady(node, pid)) return;
  }
}

function isReady(node: NodePlan, pid: number): boolean {
  const agent = readState(node.dir, "agent");
  return agent?.ready === true && agent.pid === pid;
}

/** Ends a node's agent and waits until it is gone: by SIGTERM, by SIGKILL when it does not obey or when `kill` is set. */
export async function stopAgent(store: LabStore, node: NodePlan, kill = false): Promise<Ending> {
  const id = store.state.agents[node.name];
  if (id === undefined) return "was gone";
  const ending = await endProcess(id, kill ? 0 : GRACE_MS);
  store.update((state) => delete state.agents[node.name]);
  return ending;
}

/** Whether the agent's process lives and has said that it is ready. */
export function agentStatus(store: LabStore, node: NodePlan) {
  const id = store.state.agents[node.name];
  const alive = id !== undefined && isAlive(id);
  return { pid: alive ? id.pid : undefined, ready: alive && isReady(node, id.pid) };
}

/** The last lines of a log; empty when there is none. */
export function tail(path: string, lines = 15): string {
  try {
    return Deno.readTextFileSync(path).trimEnd().split("\n").slice(-lines).join("\n");
  } catch {
    return "";
  }
}
