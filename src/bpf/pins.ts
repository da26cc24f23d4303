/**
 * Where things are pinned below the node's bpffs directory: `map/<name>`, `prog/<name>`, and for TCX attachments
 * `link/<ifindex>-<direction>`. Directories are for root only; the kernel makes pins with mode 0600.
 */
import type { Direction } from "../linux/rtnl_tc.ts";
import { objPin } from "./syscall.ts";

/** The pin of a map. */
export function mapPin(bpffs: string, name: string): string {
  return `${bpffs}/map/${name}`;
}

/** The pin of a program. */
export function programPin(bpffs: string, name: string): string {
  return `${bpffs}/prog/${name}`;
}

/** The pin of a TCX link. */
export function linkPin(bpffs: string, ifindex: number, direction: Direction): string {
  return `${bpffs}/link/${ifindex}-${direction}`;
}

/** The places of all pinned links. */
export function listLinkPins(
  bpffs: string,
): { path: string; ifindex: number; direction: Direction }[] {
  return listPins(`${bpffs}/link`).flatMap((name) => {
    const match = /^(\d+)-(ingress|egress)$/.exec(name);
    if (!match) return [];
    const path = `${bpffs}/link/${name}`;
    return [{ path, ifindex: Number(match[1]), direction: match[2] as Direction }];
  });
}

/** Names in a directory of pins; none when it is missing. */
export function listPins(directory: string): string[] {
  try {
    return Array.from(Deno.readDirSync(directory), (entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Below the node's directory. */
export const PIN_DIRECTORIES = ["map", "prog", "link"] as const;

/** Makes the directories. `bpffs` itself must be on a bpffs already. */
export function makePinDirectories(bpffs: string): void {
  for (const part of PIN_DIRECTORIES) {
    Deno.mkdirSync(`${bpffs}/${part}`, { recursive: true, mode: 0o700 });
  }
}

/**
 * Pins a map, program or link at `path`, over what is pinned there: a process that opens the path meanwhile gets
 * the old or the new one, never ENOENT. bpffs renames over an existing pin.
 */
export function replacePin(path: string, fd: number): void {
  const fresh = `${path}${NEW_SUFFIX}`; // no dot: bpffs refuses names with one
  removePin(fresh); // of a process that was killed
  objPin(fresh, fd);
  Deno.renameSync(fresh, path);
}

/** Ends the name of a pin that is about to replace another. */
export const NEW_SUFFIX = "~new";

/** Removes a pin; false when there was none. */
export function removePin(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Whether a data plane is installed below `bpffs`: lbrp's programs are pinned, which happens last, so their maps are, too.
 * Maps that a newer version adds for other programs do not count: pods need none of them.
 */
export function dataPlaneReady(bpffs: string): boolean {
  return [mapPin(bpffs, "endpoints"), ...PROGRAMS.map((name) => programPin(bpffs, name))]
    .every(hasPin);
}

/** Programs of lbrp.bpf.o. */
export const PROGRAMS = ["lbrp_from_pod", "lbrp_to_pod"] as const;

/** Programs of k8sdispatcher.bpf.o: the uplinks' ingress and egress, and the overlay device's ingress. */
export const DISPATCHER_PROGRAMS = [
  "k8sd_from_uplink",
  "k8sd_to_uplink",
  "k8sd_from_overlay",
] as const;

/** Programs of k8sdispatcher_l3.bpf.o, for uplinks without Ethernet header: pinned where there was one (headerless.ts). */
export const HEADERLESS_PROGRAMS = ["k8sd_from_l3", "k8sd_to_l3"] as const;

/** Whether there is such a path. */
export function hasPin(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
