/**
 * Programs on the tc hooks of a device, in one of two modes:
 *
 * - `tcx`: a link (Linux 6.6), pinned at `<bpffs>/link/<ifindex>-<direction>`. tc cannot remove it, but to create it the
 *   kernel waits for RCU: 8 to 30 ms.
 * - `clsact`: a tc filter, 0.2 ms. It goes with its device and needs no pin, but also with its qdisc, which any tool may
 *   delete.
 *
 * In both modes a program is replaced atomically: each packet runs the former or the new one. Filters and links of
 * other tools on the same device stay, and so does the clsact qdisc after a detach. Redirects of the CNI plugin bandwidth
 * make way for pcnk's priority.
 */
import { closeFd, SyscallError } from "../linux/libc.ts";
import { isLinux } from "../linux/release.ts";
import type { Direction, Filter, RtNetlink } from "../linux/rtnetlink.ts";
import { hasPin, linkPin, listLinkPins, programPin, removePin } from "./pins.ts";
import {
  ATTACH_TYPE,
  linkById,
  linkCreate,
  linkDetach,
  linkInfo,
  linkUpdate,
  objGet,
  objPin,
  progInfo,
  progName,
  tcxLinkIds,
  tryObjGet,
} from "./syscall.ts";

/** How to attach; `auto` keeps the mode in use, else takes TCX where the kernel has it. */
export type AttachMode = "auto" | "tcx" | "clsact";

/** Priority and handle of pcnk's filter on a hook, and the prefix of its name. One pcnk program a hook. */
export const FILTER = { priority: 1, handle: 0x7063, prefix: "pcnk_" } as const;

/** One of the two tc hooks of a device. */
export interface Hook {
  /** The node's bpffs directory. */
  readonly bpffs: string;
  readonly ifindex: number;
  /** Seen from the device: what a pod sends is the ingress of its veth's host end. */
  readonly direction: Direction;
  /** A connection in the device's network namespace, which must be the caller's for TCX. */
  readonly nl: RtNetlink;
}

/** A program on a hook. */
export interface Attachment {
  readonly ifindex: number;
  readonly direction: Direction;
  readonly mode: "tcx" | "clsact";
  /** The kernel's id of the program. */
  readonly progId: number;
}

/** The hook cannot be used as asked. */
export class AttachError extends Error {
  override readonly name = "AttachError";
}

/** Whether this kernel has TCX links (6.6). */
export function tcxSupported(release?: string): boolean {
  return isLinux(6, 6, release);
}

/**
 * Attaches a program to a hook, or replaces pcnk's program there. An attachment of the other
 * mode is removed afterwards: the hook is never without a program.
 * @param options.name the program's name in C, e.g. `lbrp_from_pod`
 * @throws {AttachError} when another tool's filter has pcnk's priority and handle, or TCX is asked for before Linux 6.6
 * @throws {SyscallError} ENODEV
 */
export function attach(
  options: Hook & { programFd: number; name: string; mode: AttachMode },
): Attachment {
  const mode = options.mode === "auto" ? choose(options) : options.mode;
  if (mode === "tcx") {
    const attachment = attachTcx(options, options.programFd);
    detachFilter(options);
    return attachment;
  }
  const attachment = attachFilter(options, options.programFd, options.name);
  if (attachment.mode === "clsact") detachTcx(options);
  return attachment;
}

/**
 * Attaches the program that is pinned under `name`. When an upgrade pins a new version meanwhile, that one is attached:
 * the upgrade replaces the attachments it sees, and could have missed this one.
 * @throws as `attach`; {SyscallError} ENOENT when nothing is pinned
 */
export function attachPinned(options: Hook & { name: string; mode: AttachMode }): Attachment {
  const pin = programPin(options.bpffs, options.name);
  let attachment: Attachment | undefined;
  while (true) {
    const programFd = objGet(pin);
    try {
      if (attachment?.progId === progInfo(programFd).id) return attachment;
      attachment = attach({ ...options, programFd });
    } finally {
      closeFd(programFd);
    }
  }
}

function choose({ bpffs, ifindex, direction, nl }: Hook): "tcx" | "clsact" {
  return isAttached({ bpffs, ifindex, direction, nl })?.mode ?? (tcxSupported() ? "tcx" : "clsact");
}

/** What pcnk has on a hook; undefined when nothing, or, with `programFd`, when another program. */
export function isAttached(hook: Hook & { programFd?: number }): Attachment | undefined {
  const { ifindex, direction } = hook;
  const progId = withLink(hook, (_, info) => info.progId);
  const filter = progId === undefined ? ownFilter(hook) : undefined;
  const found: Attachment | undefined = progId !== undefined
    ? { ifindex, direction, mode: "tcx", progId }
    : filter && { ifindex, direction, mode: "clsact", progId: filter.progId };
  if (hook.programFd !== undefined && found?.progId !== progInfo(hook.programFd).id) {
    return undefined;
  }
  return found;
}

/** Removes pcnk's program from a hook; false when there was none. The device may be gone. */
export function detach(hook: Hook): boolean {
  const link = detachTcx(hook);
  return detachFilter(hook) || link;
}

/** Every attachment of a node: pinned links, and pcnk's filters on the devices of `nl`'s namespace. */
export function listAttachments(
  { bpffs, nl }: Pick<Hook, "bpffs" | "nl">,
): (Attachment & { name: string })[] {
  const found: (Attachment & { name: string })[] = [];
  for (const { ifindex, direction } of listLinkPins(bpffs)) {
    const progId = withLink({ bpffs, ifindex, direction }, (_, info) => info.progId);
    if (progId === undefined) continue;
    found.push({ ifindex, direction, mode: "tcx", progId, name: progName(progId) });
  }
  for (const ifindex of nl.listClsact()) {
    for (const direction of ["ingress", "egress"] as const) {
      const filter = ownFilter({ ifindex, direction, nl });
      if (!filter) continue;
      const name = filter.name.slice(FILTER.prefix.length);
      found.push({ ifindex, direction, mode: "clsact", progId: filter.progId, name });
    }
  }
  return found;
}

/**
 * Puts new versions of programs, by their names, into all attachments of the node. Pins of links whose device is gone are
 * removed. Returns how many attachments were given a new program.
 */
export function replaceAll(
  options: Pick<Hook, "bpffs" | "nl"> & { programs: ReadonlyMap<string, number> },
): number {
  const { bpffs, nl, programs } = options;
  removeStaleLinks(bpffs);
  let replaced = 0;
  for (const { ifindex, direction, mode, name } of listAttachments(options)) {
    // The kernel keeps 15 characters of a program's name.
    const key = [...programs.keys()].find((program) =>
      mode === "tcx" ? program.slice(0, 15) === name : program === name
    );
    if (key === undefined) continue;
    const hook = { bpffs, nl, ifindex, direction };
    if (mode === "tcx") attachTcx(hook, programs.get(key)!);
    else attachFilter(hook, programs.get(key)!, key);
    replaced++;
  }
  return replaced;
}

/** Removes the pins of links whose device is gone; returns the indexes that those devices had. */
export function removeStaleLinks(bpffs: string): number[] {
  return staleLinks(bpffs).map(({ path, ifindex }) => (removePin(path), ifindex));
}

/** The pins of links whose device is gone. */
export function staleLinks(bpffs: string): { ifindex: number; path: string }[] {
  return listLinkPins(bpffs).filter((pin) => withLink({ bpffs, ...pin }, () => true) === undefined);
}

/**
 * Pins TCX links of pcnk again whose pins are gone or hidden while they are attached.
 * @param isOwn by the program's name, of which the kernel keeps 15 characters
 */
export function repinTcxLinks(
  { bpffs, nl, isOwn }: Pick<Hook, "bpffs" | "nl"> & { isOwn: (program: string) => boolean },
): void {
  if (!tcxSupported()) return;
  for (const { index: ifindex } of nl.links()) {
    for (const direction of ["ingress", "egress"] as const) {
      for (const id of tcxLinkIds(ifindex, tcxType(direction))) {
        const fd = linkById(id);
        if (fd === undefined) continue;
        try {
          const { progId, detached } = linkInfo(fd);
          const pin = linkPin(bpffs, ifindex, direction);
          if (detached || !isOwn(progName(progId)) || hasPin(pin)) continue;
          objPin(pin, fd);
        } finally {
          closeFd(fd);
        }
      }
    }
  }
}

function tcxType(direction: Direction): number {
  return direction === "ingress" ? ATTACH_TYPE.TCX_INGRESS : ATTACH_TYPE.TCX_EGRESS;
}

/** Runs `fn` with the pinned link of a hook; undefined when there is none or its device is gone. */
function withLink<T>(
  hook: Omit<Hook, "nl">,
  fn: (fd: number, info: ReturnType<typeof linkInfo>) => T,
): T | undefined {
  const fd = tryObjGet(linkPin(hook.bpffs, hook.ifindex, hook.direction));
  if (fd === undefined) return undefined;
  try {
    const info = linkInfo(fd);
    return info.ifindex === hook.ifindex ? fn(fd, info) : undefined;
  } finally {
    closeFd(fd);
  }
}

function attachTcx(hook: Hook, programFd: number): Attachment {
  const { bpffs, ifindex, direction } = hook;
  const progId = progInfo(programFd).id;
  const result: Attachment = { ifindex, direction, mode: "tcx", progId };
  const pin = linkPin(bpffs, ifindex, direction);
  for (let attempt = 0;; attempt++) {
    const present = withLink(hook, (fd, info) => {
      if (info.progId !== progId) linkUpdate(fd, programFd);
      return true;
    });
    if (present) return result;
    removePin(pin); // of a former device with the same index
    const link = createLink(programFd, ifindex, tcxType(direction));
    try {
      Deno.mkdirSync(`${bpffs}/link`, { recursive: true, mode: 0o700 });
      objPin(pin, link);
      return result;
    } catch (error) {
      // Another process was faster: its link is updated, ours goes away with its descriptor.
      const raced = error instanceof SyscallError && error.code === "EEXIST";
      if (!raced || attempt > 0) throw error;
    } finally {
      closeFd(link);
    }
  }
}

function createLink(programFd: number, ifindex: number, attachType: number): number {
  try {
    return linkCreate(programFd, ifindex, attachType);
  } catch (error) {
    const refused = error instanceof SyscallError && error.code === "EINVAL";
    if (refused && !tcxSupported()) throw new AttachError("TCX links need Linux 6.6");
    throw error;
  }
}

function detachTcx(hook: Hook): boolean {
  const pin = linkPin(hook.bpffs, hook.ifindex, hook.direction);
  // Asked first, because it is the rule on the path of a CNI ADD, where an exception costs more than all else here.
  const fd = tryObjGet(pin);
  if (fd === undefined) return false;
  try {
    const own = linkInfo(fd).ifindex === hook.ifindex; // else of a former device with the same index
    if (own) linkDetach(fd); // at once, although other processes may hold the link
    return own;
  } finally {
    closeFd(fd);
    removePin(pin);
  }
}

function attachFilter(hook: Hook, programFd: number, name: string): Attachment {
  const { ifindex, direction, nl } = hook;
  const progId = progInfo(programFd).id;
  const result: Attachment = { ifindex, direction, mode: "clsact", progId };
  const fresh = nl.addClsact(ifindex);
  const present = fresh ? undefined : filterInPlace(hook);
  if (!fresh && !present && isOccupied(hook) && !nl.redirectsMove({ ...hook, ...FILTER })) {
    if (tcxSupported()) return attachTcx(hook, programFd); // which runs before the filters
    throw new AttachError(
      `${direction} of device ${ifindex} has filters of another tool at priority ${FILTER.priority}, which ` +
        "programs can only be put before since Linux 6.6; remove them",
    );
  }
  if (present && !isOwn(present)) {
    throw new AttachError(
      `${direction} of device ${ifindex}: priority ${FILTER.priority}, handle ${FILTER.handle} ` +
        `belongs to another tool's filter ${JSON.stringify(present.name)}`,
    );
  }
  if (present?.progId === progId) return result;
  nl.filterReplace({
    ifindex,
    direction,
    priority: FILTER.priority,
    handle: FILTER.handle,
    progFd: programFd,
    name: FILTER.prefix + name,
  });
  return result;
}

/** Whether another kind of filter has pcnk's priority. */
function isOccupied({ nl, ifindex, direction }: Hook): boolean {
  return nl.filterList(ifindex, direction).some(({ priority, kind }) =>
    priority === FILTER.priority && kind !== "bpf"
  );
}

function detachFilter(hook: Hook): boolean {
  return ownFilter(hook) !== undefined &&
    hook.nl.filterDelete({ ...hook, priority: FILTER.priority, handle: FILTER.handle });
}

function isOwn(filter: Filter): boolean {
  return filter.name.startsWith(FILTER.prefix);
}

function ownFilter(hook: Omit<Hook, "bpffs">): Filter | undefined {
  const filter = filterInPlace(hook);
  return filter && isOwn(filter) ? filter : undefined;
}

function filterInPlace({ nl, ifindex, direction }: Omit<Hook, "bpffs">): Filter | undefined {
  return nl.filterList(ifindex, direction).find((filter) =>
    filter.priority === FILTER.priority && filter.handle === FILTER.handle
  );
}
