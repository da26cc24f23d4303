/**
 * What a run of the benchmarks makes on the machine, and how all of it goes away again: at the end, after a failure,
 * after Ctrl-C, and, for a run that was killed, when the next one begins.
 */
import { downLab } from "../../src/lab/down.ts";
import { cgroupOf } from "../../src/lab/leftovers.ts";
import { mountsBelow } from "../../src/linux/mounts.ts";
import { LAB_ROOT } from "../../src/lab/plan.ts";
import { removeCgroup } from "../../src/lab/pods.ts";
import { endProcess, netnsKey, processesIn } from "../../src/lab/process.ts";
import { umount } from "../../src/linux/mount.ts";
import { createNetns, deleteNetns, listNetns, netnsPath } from "../../src/linux/netns.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";

const NETNS = /^pcnk-b-(\d+)-/;
const LAB = /^bench(\d+)$/;
const DIR_ROOT = "/run/pcnk-bench";

/** Name of this run's laboratory. */
export function labName(): string {
  return `bench${Deno.pid}`;
}

/** A cgroup for agents outside the laboratory, which takes it for its node's; null when the machine has no cgroup2. */
export function agentCgroup(pid = Deno.pid): string | null {
  return cgroupOf(`bench-agent${pid}`);
}

/** Namespaces, a folder and whatever else registers with `defer`. */
export class Stage {
  readonly #undo = new AsyncDisposableStack();
  /** A folder of this run; mounts below it are undone. */
  readonly dir = `${DIR_ROOT}/${Deno.pid}`;

  /** @param signal aborted: waits reject */
  constructor(readonly signal: AbortSignal) {
    Deno.mkdirSync(this.dir, { recursive: true, mode: 0o700 });
  }

  /** Registers what is to be undone; the last comes first. */
  defer(undo: () => void | Promise<void>): void {
    this.#undo.defer(undo);
  }

  /** Disposes of it when the stage goes. */
  use<T extends AsyncDisposable | Disposable>(value: T): T {
    return this.#undo.use(value);
  }

  /** Makes a network namespace of this run with its loopback up; returns its path. */
  netns(name: string): string {
    const full = `pcnk-b-${Deno.pid}-${name}`;
    const path = createNetns(full);
    this.defer(() => void deleteNetns(full));
    using nl = RtNetlink.open(path);
    nl.setLink(nl.link("lo")!.index, { up: true });
    return path;
  }

  /** Runs `work` on a stage that is gone afterwards. */
  static async with<T>(signal: AbortSignal, work: (stage: Stage) => Promise<T>): Promise<T> {
    const stage = new Stage(signal);
    try {
      return await work(stage);
    } finally {
      try {
        await stage.#undo.disposeAsync();
      } finally {
        await sweep(Deno.pid);
      }
    }
  }
}

/** Removes what runs that are gone have left. */
export async function sweepDead(): Promise<void> {
  const pids = new Set<number>();
  for (const name of listNetns()) {
    const pid = Number(NETNS.exec(name)?.[1]);
    if (pid) pids.add(pid);
  }
  for (const name of listNames(DIR_ROOT)) pids.add(Number(name));
  // Laboratories first: they have processes in their cgroups.
  for (const name of listNames(LAB_ROOT)) {
    const pid = Number(LAB.exec(name)?.[1]);
    if (pid && !isRunning(pid)) await downLab(name);
  }
  for (const pid of pids) if (!isRunning(pid)) await sweep(pid);
}

function listNames(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function isRunning(pid: number): boolean {
  try {
    // The pid may be another process's by now; then the leftovers wait.
    return Deno.statSync(`/proc/${pid}`).isDirectory;
  } catch {
    return false;
  }
}

async function sweep(pid: number): Promise<void> {
  const names = listNetns().filter((name) => Number(NETNS.exec(name)?.[1]) === pid);
  const keys = names.map((name) => netnsKey(netnsPath(name))).filter((key) => key !== undefined);
  await Promise.all(processesIn(new Set(keys)).map((id) => endProcess(id, 1000)));
  names.forEach(deleteNetns);
  const dir = `${DIR_ROOT}/${pid}`;
  for (const mount of mountsBelow(dir)) umount(mount, { lazy: true });
  removeCgroup(agentCgroup(pid));
  remove(dir, true);
  remove(DIR_ROOT, false); // when it is empty
}

function remove(path: string, recursive: boolean): void {
  try {
    Deno.removeSync(path, { recursive });
  } catch (error) {
    if (recursive && !(error instanceof Deno.errors.NotFound)) throw error;
  }
}
