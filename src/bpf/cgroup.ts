/**
 * Programs on the socket hooks of a cgroup (v2), by bpf links (Linux 5.7) that are pinned at `<bpffs>/link/cgroup-<hook>`:
 * they outlive the agent, and a program is replaced atomically: each call runs the former or the new one. Programs of
 * other tools on the same hook stay, and run too.
 */
import { statSync } from "node:fs";
import { closeFd, O, openFile, SyscallError } from "../linux/libc.ts";
import { isCgroup2 } from "../linux/mount.ts";
import { listPins, removePin, replacePin } from "./pins.ts";
import {
  linkById,
  linkCreate,
  linkDetach,
  linkIds,
  linkInfo,
  linkUpdate,
  objPin,
  progInfo,
  progName,
  tryObjGet,
} from "./syscall.ts";

/** Attach types (enum bpf_attach_type) by the names that sections have after `cgroup/`. */
const CGROUP_HOOK = {
  connect4: 10,
  connect6: 11,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getpeername4: 29,
  getpeername6: 30,
  sock_release: 34,
} as const;

/** A hook's name. */
export type CgroupHook = keyof typeof CGROUP_HOOK;

/** A program on a hook. */
interface CgroupAttachment {
  readonly hook: CgroupHook;
  /** The kernel's id of the cgroup: the inode of its directory. */
  readonly cgroupId: bigint;
  /** The kernel's id of the program. */
  readonly progId: number;
}

/** The cgroup cannot be used as asked. */
export class CgroupError extends Error {
  override readonly name = "CgroupError";
}

/** The pin of a hook's link. */
export function cgroupLinkPin(bpffs: string, hook: CgroupHook): string {
  return `${bpffs}/link/cgroup-${hook}`;
}

/**
 * Attaches a program to a hook of a cgroup, or replaces the one there. When the pinned link is on
 * another cgroup, the new one comes first and that one goes afterwards.
 * @param options.cgroup its directory
 * @returns what is attached now, and what this call changed
 * @throws {CgroupError} when it is no cgroup v2, or another tool holds the hook for itself alone
 * @throws {SyscallError} ENOENT
 */
export function attachCgroup(
  options: { bpffs: string; cgroup: string; hook: CgroupHook; programFd: number },
): CgroupAttachment & { change: "created" | "replaced" | "none" } {
  const { bpffs, cgroup, hook, programFd } = options;
  const cgroupId = cgroupIdOf(cgroup);
  const progId = progInfo(programFd).id;
  const present = withLink(bpffs, hook, (link, found) => {
    if (found.cgroupId !== cgroupId) return undefined;
    if (found.progId === progId) return "none";
    linkUpdate(link, programFd);
    return "replaced";
  });
  if (present) return { hook, cgroupId, progId, change: present };
  const pin = cgroupLinkPin(bpffs, hook);
  const old = tryObjGet(pin);
  try {
    const link = createLink(cgroup, hook, programFd);
    try {
      Deno.mkdirSync(`${bpffs}/link`, { recursive: true, mode: 0o700 });
      if (old === undefined) objPin(pin, link);
      else replacePin(pin, link);
    } finally {
      closeFd(link);
    }
    if (old !== undefined) linkDetach(old);
  } finally {
    if (old !== undefined) closeFd(old);
  }
  return { hook, cgroupId, progId, change: "created" };
}

/** What pcnk has on a hook; undefined when nothing, or when its cgroup is gone. */
export function cgroupAttachment(bpffs: string, hook: CgroupHook): CgroupAttachment | undefined {
  return withLink(
    bpffs,
    hook,
    (_, info) => info.detached ? undefined : { hook, cgroupId: info.cgroupId, progId: info.progId },
  );
}

/** Detaches from a hook at once, although other processes may hold the link; false when none was pinned. */
export function detachCgroup(bpffs: string, hook: CgroupHook): boolean {
  const found = withLink(bpffs, hook, (link) => {
    linkDetach(link);
    return true;
  });
  removePin(cgroupLinkPin(bpffs, hook));
  return found ?? false;
}

/** Hooks with a pinned link. */
export function listCgroupHooks(bpffs: string): CgroupHook[] {
  const pins = new Set(listPins(`${bpffs}/link`));
  return (Object.keys(CGROUP_HOOK) as CgroupHook[]).filter((hook) => pins.has(`cgroup-${hook}`));
}

/** The kernel's id of a cgroup, and with it the check that it is one. */
export function cgroupIdOf(cgroup: string): bigint {
  const id = statSync(cgroup, { bigint: true }).ino;
  if (!isCgroup2(cgroup)) throw new CgroupError(`${cgroup} is not a cgroup v2 directory`);
  return id;
}

function createLink(cgroup: string, hook: CgroupHook, programFd: number): number {
  const directory = openFile(cgroup, O.RDONLY);
  try {
    return linkCreate(programFd, directory, CGROUP_HOOK[hook]);
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === "EPERM")) throw error;
    throw new CgroupError(
      `${hook} of ${cgroup}: not permitted; either a capability is missing, or another tool ` +
        `attached a program to it or to a cgroup above it that tolerates no others`,
    );
  } finally {
    closeFd(directory);
  }
}

function withLink<T>(
  bpffs: string,
  hook: CgroupHook,
  fn: (fd: number, info: ReturnType<typeof linkInfo>) => T,
): T | undefined {
  const fd = tryObjGet(cgroupLinkPin(bpffs, hook));
  if (fd === undefined) return undefined;
  try {
    return fn(fd, linkInfo(fd));
  } finally {
    closeFd(fd);
  }
}

/**
 * Pins links of pcnk again whose pins are gone or hidden, while they are attached to this cgroup.
 * @param isOwn by the program's name, of which the kernel keeps 15 characters
 * @returns the ids of the programs that such links run
 */
export function repinCgroupLinks(
  bpffs: string,
  cgroup: string,
  isOwn: (program: string) => boolean,
): number[] {
  const missing = (Object.keys(CGROUP_HOOK) as CgroupHook[])
    .filter((hook) => !listCgroupHooks(bpffs).includes(hook));
  if (missing.length === 0) return [];
  const cgroupId = cgroupIdOf(cgroup);
  return linkIds().flatMap((id) => {
    const fd = linkById(id);
    if (fd === undefined) return [];
    try {
      const info = linkInfo(fd);
      const hook = missing.find((one) => CGROUP_HOOK[one] === info.attachType);
      if (info.cgroupId !== cgroupId || hook === undefined || !isOwn(progName(info.progId))) {
        return [];
      }
      replacePin(cgroupLinkPin(bpffs, hook), fd);
      return [info.progId];
    } finally {
      closeFd(fd);
    }
  });
}
