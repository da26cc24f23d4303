/**
 * The node's bpffs, seen from a container with mounts of its own. The manifest mounts the folder of the node's mount point a second
 * time, below the prefix in PCNK_HOST_PREFIX, with propagation in both directions (mount_namespaces(7), shared subtrees):
 * there the container sees what the node unmounts or mounts, and what the container mounts there the node sees.
 */
import { dirname } from "node:path";
import { bindMount, isBpffs, mountBpffs, umount } from "../linux/mount.ts";
import { listPins } from "./pins.ts";

/** The environment variable with the prefix below which a container has directories of the node. */
export const HOST_PREFIX_VARIABLE = "PCNK_HOST_PREFIX";

/** Where systemd and pcnk mount a bpffs; the setting `bpffs` is a directory there, or a mount point itself. */
const SYSTEM_BPFFS = "/sys/fs/bpf";

/** The mount point that `bpffs` is in. */
export function bpffsMountPoint(bpffs: string): string {
  return bpffs.startsWith(`${SYSTEM_BPFFS}/`) ? SYSTEM_BPFFS : bpffs;
}

/** The node's own path to `bpffs`; undefined: this process sees the node's mounts anyway. */
function nodePath(bpffs: string): string | undefined {
  const prefix = Deno.env.get(HOST_PREFIX_VARIABLE);
  if (!prefix || id(prefix + dirname(bpffsMountPoint(bpffs))) === undefined) return undefined;
  return prefix + bpffs;
}

/** What the node has at `bpffs` instead of what this process sees there; undefined: the same. */
export function nodeBpffsInstead(bpffs: string): "none" | "another" | undefined {
  const path = nodePath(bpffs);
  if (path === undefined || (isBpffs(path) && id(path) === id(bpffs))) return undefined;
  return isBpffs(path) ? "another" : "none";
}

/**
 * Lets this process have the bpffs that the node has, which is mounted there if it has none.
 * @throws {SyscallError}
 * @throws {Error} when files are in the node's directory
 */
export function takeNodeBpffs(bpffs: string): void {
  const path = nodePath(bpffs);
  if (path === undefined) return;
  const own = bpffsMountPoint(bpffs);
  const point = path.slice(0, path.length - bpffs.length) + own;
  if (!isBpffs(point)) {
    if (listPins(point).length > 0) throw new Error(`${own} of the node has files in it`);
    mountBpffs(point);
  }
  while (umount(own, { lazy: true })); // of this container only
  bindMount(point, own);
}

function id(path: string): string | undefined {
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev} ${ino}`;
  } catch {
    return undefined;
  }
}
