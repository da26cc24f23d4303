/**
 * The node's bpffs, where pins are. In the DaemonSet a mount that the node sees takes a privileged container (mountPropagation
 * Bidirectional). So one container does that and nothing else, and the agent's sees at the same path what the node has
 * (HostToContainer; mount_namespaces(7), shared subtrees).
 */
import { isBpffs, mountBpffs } from "../linux/mount.ts";
import { listPins } from "./pins.ts";

/** The environment variable with the name of the container that mounts the node's bpffs; unset: this process does. */
export const MOUNTER_VARIABLE = "PCNK_BPFFS_CONTAINER";

/** Where systemd and pcnk mount a bpffs; the setting `bpffs` is a directory there, or a mount point itself. */
const SYSTEM_BPFFS = "/sys/fs/bpf";

/** Milliseconds between two looks at a mount that another container makes, or that another program removes. */
const LOOK_MS = 200;

/** Milliseconds that the agent waits for the other container's start. */
const START_MS = 60_000;

/** The mount point that `bpffs` is in. */
export function bpffsMountPoint(bpffs: string): string {
  return bpffs.startsWith(`${SYSTEM_BPFFS}/`) ? SYSTEM_BPFFS : bpffs;
}

/**
 * Mounts a bpffs at `point` for the node.
 * @throws {SyscallError}
 * @throws {Error} when it would hide files, or another container mounts it
 */
export function mountNodeBpffs(point: string): void {
  // A mount hides the directory's files: a typo must not hide /etc.
  if (listPins(point).length > 0) {
    throw new Error(`bpffs ${point}: is a directory with files in it`);
  }
  const mounter = Deno.env.get(MOUNTER_VARIABLE);
  if (mounter !== undefined) {
    throw new Error(
      `bpffs ${point}: not mounted by the container ${mounter} of this pod; see its log`,
    );
  }
  mountBpffs(point);
}

/** Waits until another container has mounted the bpffs, where one does; then, or after a minute, it is there or an error. */
export async function awaitNodeBpffs(bpffs: string, signal: AbortSignal): Promise<void> {
  if (Deno.env.get(MOUNTER_VARIABLE) === undefined) return;
  const until = Date.now() + START_MS;
  while (!isBpffs(bpffsMountPoint(bpffs)) && !signal.aborted && Date.now() < until) await pause();
}

/** Keeps a bpffs mounted at `point`, until the signal. @param say gets a line for each mount, and for an error that is new */
export async function keepNodeBpffs(
  point: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  let trouble: string | undefined;
  while (!signal.aborted) {
    try {
      if (!isBpffs(point)) {
        mountNodeBpffs(point);
        say(`mounted a bpffs on ${point}`);
      }
      trouble = undefined;
    } catch (error) {
      const { message } = error as Error;
      if (message !== trouble) say(message);
      trouble = message;
    }
    await pause();
  }
}

const pause = () => new Promise((resolve) => setTimeout(resolve, LOOK_MS));
