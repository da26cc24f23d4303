/** What of a lab is there, by its name alone. */
import { listNetns } from "../linux/netns.ts";
import { findCgroup2, mountsBelow } from "../linux/mounts.ts";
import { labDir, NETNS_ROOT, netnsPrefix } from "./plan.ts";
import { isThere } from "../node/files.ts";

/** Names of the lab's network namespaces that are there. */
export function namespacesOf(name: string): string[] {
  return listNetns().filter((netns) => netns.startsWith(netnsPrefix(name)));
}

/** The lab's cgroup, whether it is there or not; null when the machine has no cgroup2. */
export function cgroupOf(name: string): string | null {
  const root = findCgroup2();
  return root === null ? null : `${root}/pcnk-${name}`;
}

/** Paths of everything of a lab that is there: namespaces, mounts, its folder, its cgroup. */
export function leftovers(name: string): string[] {
  const cgroup = cgroupOf(name);
  return [
    ...namespacesOf(name).map((netns) => `${NETNS_ROOT}/${netns}`),
    ...mountsBelow(labDir(name)),
    ...[labDir(name), ...(cgroup === null ? [] : [cgroup])].filter(isThere),
  ];
}
