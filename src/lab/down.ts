/**
 * `lab down`: removes a lab by what its state file says and by what its names say, so that it also works after a crash of
 * `lab up`, and without a state file.
 */
import { closeFd, openFile } from "../linux/libc.ts";
import { umount } from "../linux/mount.ts";
import { deleteNetns } from "../linux/netns.ts";
import { stopAgent } from "./agents.ts";
import { isThere } from "../node/files.ts";
import { cgroupOf, leftovers, namespacesOf } from "./leftovers.ts";
import { mountsBelow } from "../linux/mounts.ts";
import { LAB_ROOT, labDir, NETNS_ROOT, planPod } from "./plan.ts";
import { deletePod, endAll, endAllIn, removeCgroup } from "./pods.ts";
import { netnsKey, processesIn } from "./process.ts";
import { type Progress, silent } from "./progress.ts";
import { LabStore, NoLabError } from "./state.ts";
import { inParallel } from "./wait.ts";

/**
 * Removes a lab, or what is left of one. What did not work as it should though the lab is gone in the end, e.g. a failed
 * CNI DEL, is a note of the progress.
 *
 * @returns whether there was anything to remove.
 * @throws Error when a `lab up` of that name is still at work, or something cannot be removed.
 */
export async function downLab(name: string, progress: Progress = silent): Promise<boolean> {
  const { store, warning } = openIfPossible(name);
  if (store?.busy) {
    const { pid } = store.state.owner;
    throw new Error(`lab ${name} is just being made (by process ${pid}); stop that first`);
  }
  if (leftovers(name).length === 0) return false;
  if (warning !== undefined) progress.note(warning);
  if (store) {
    const failed = await progress.step("pods", () => deletePods(store), () => "CNI DEL done");
    for (const failure of failed) progress.note(failure);
    await progress.step("agents", () => stopAgents(store), (killed) => {
      return killed === 0 ? "ended" : `ended, ${killed} only by SIGKILL`;
    });
  }
  await progress.step("rest", () => removeRest(name), () => "nothing left");
  return true;
}

function openIfPossible(name: string): { store?: LabStore; warning?: string } {
  try {
    return { store: LabStore.open(name) };
  } catch (error) {
    if (error instanceof NoLabError) return {};
    return { warning: (error as Error).message };
  }
}

/** Returns what failed. A pod whose DEL fails is gone all the same. */
async function deletePods(store: LabStore): Promise<string[]> {
  const failed: string[] = [];
  const { plan, state } = store;
  const pods = Object.values(state.pods);
  await inParallel(plan.nodes, 2, async (node) => {
    for (const pod of pods.filter((each) => each.node === node.name)) {
      try {
        await deletePod(store, planPod(plan.options.name, node.name, pod.name));
      } catch (error) {
        failed.push(`${pod.name}: ${(error as Error).message}`);
      }
    }
  });
  return failed;
}

/** Returns how many did not end by themselves. */
async function stopAgents(store: LabStore): Promise<number> {
  const endings = await Promise.all(store.plan.nodes.map((node) => stopAgent(store, node)));
  return endings.filter((ending) => ending === "killed").length;
}

async function removeRest(name: string): Promise<void> {
  const namespaces = namespacesOf(name);
  const paths = namespaces.map((netns) => `${NETNS_ROOT}/${netns}`);
  await endAllIn(paths);
  for (const path of mountsBelow(labDir(name))) umount(path, { lazy: true });
  const late = withNamespacesHeld(paths, (keys) => {
    for (const netns of namespaces) deleteNetns(netns);
    // A process that was just on its way in has arrived by now, and no other can follow.
    return processesIn(keys);
  });
  await endAll(late);
  removeCgroup(cgroupOf(name));
  removeFolders(name);
}

/**
 * Calls `work` with what tells these namespaces apart, and keeps them alive meanwhile even without their names: else the
 * kernel gives their inode numbers to namespaces of other programs.
 */
function withNamespacesHeld<T>(paths: string[], work: (keys: Set<string>) => T): T {
  const held = paths.map((path) => openFile(path));
  try {
    return work(new Set(paths.map(netnsKey).filter((key) => key !== undefined)));
  } finally {
    for (const fd of held) closeFd(fd);
  }
}

function removeFolders(name: string): void {
  if (isThere(labDir(name))) Deno.removeSync(labDir(name), { recursive: true });
  try {
    Deno.removeSync(LAB_ROOT);
  } catch {
    // Another lab has its folder in it, or it is gone.
  }
}
