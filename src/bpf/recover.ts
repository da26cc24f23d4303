/**
 * Pins again what is attached while its pins are gone: removed by hand, or hidden by another bpffs that was mounted above.
 * Without that an install would make empty maps beside the ones that the attached programs go on using.
 *
 * Limitation: a map that no attached program uses (`schema`, `names`) is gone with its last pin and descriptor. Which version
 * the others are of is then found by the sizes of their keys and values.
 */
import { closeFd } from "../linux/libc.ts";
import type { RtNetlink } from "../linux/rtnetlink.ts";
import { listAttachments, repinTcxLinks } from "./attach.ts";
import { repinCgroupLinks } from "./cgroup.ts";
import { hostlbMaps, maps } from "./layout.ts";
import { MapVersions } from "./map_versions.ts";
import {
  DISPATCHER_PROGRAMS,
  hasPin,
  HEADERLESS_PROGRAMS,
  mapPin,
  programPin,
  PROGRAMS,
  replacePin,
} from "./pins.ts";
import { type PinnedMap, schemaOf, SCHEMAS } from "./schema.ts";
import { mapById, mapIdsOf, mapInfo, progById } from "./syscall.ts";

/** The kernel keeps 15 characters of a name. */
const short = (name: string) => name.slice(0, 15);

const steady = [...PROGRAMS, ...DISPATCHER_PROGRAMS];
const programs = [...steady, ...HEADERLESS_PROGRAMS];

/**
 * Pins what serves on this node's devices, where pins of it are missing.
 * @param nl in the node's network namespace, which must be the caller's for TCX links
 * @returns the pins that were made
 */
export function recoverPins(bpffs: string, nl: RtNetlink): string[] {
  const missing = steady.some((name) => !hasPin(programPin(bpffs, name))) ||
    mapsMissing(bpffs, maps);
  if (!missing) return [];
  repinTcxLinks({ bpffs, nl, isOwn: (name) => programs.some((one) => short(one) === name) });
  const attached = new Map(
    listAttachments({ bpffs, nl }).map(({ progId, name }) => [progId, name]),
  );
  const made: string[] = [];
  for (const [id, name] of attached) {
    const known = programs.find((one) => one === name || short(one) === name);
    if (known === undefined || hasPin(programPin(bpffs, known))) continue;
    withFd(progById(id), (fd) => replacePin(programPin(bpffs, known), fd));
    made.push(programPin(bpffs, known));
  }
  return [...made, ...recoverMaps(bpffs, [...attached.keys()])];
}

/** The same for the links and maps of hostlb. */
export function recoverCgroupPins(bpffs: string, cgroup: string): string[] {
  const isOwn = (name: string) => name.startsWith("hostlb_");
  return recoverMaps(bpffs, repinCgroupLinks(bpffs, cgroup, isOwn));
}

function mapsMissing(bpffs: string, wanted: object): boolean {
  return Object.keys(wanted).some((name) => !hasPin(mapPin(bpffs, name)));
}

/** Pins the maps of programs; of two maps with one name the one that more programs use. */
function recoverMaps(bpffs: string, progIds: readonly number[]): string[] {
  const users = new Map<number, number>();
  for (const id of progIds) {
    const used = withFd(progById(id), mapIdsOf) ?? [];
    for (const map of used) users.set(map, (users.get(map) ?? 0) + 1);
  }
  const made: string[] = [];
  for (const [id] of [...users].sort(([, a], [, b]) => b - a)) {
    withFd(mapById(id), (fd) => {
      const { name } = mapInfo(fd);
      const known = (Object.keys(SCHEMAS) as PinnedMap[]).find((one) => short(one) === name);
      if (known === undefined || hasPin(mapPin(bpffs, known))) return;
      recordVersion(bpffs, known, fd);
      replacePin(mapPin(bpffs, known), fd);
      made.push(mapPin(bpffs, known));
    });
  }
  return made;
}

/** A map with this executable's sizes is of its version; a former one keeps version 1, which has no row. */
function recordVersion(bpffs: string, name: PinnedMap, fd: number): void {
  const layouts: Record<string, { key: { size: number }; value: { size: number } }> = {
    ...maps,
    ...hostlbMaps,
  };
  const layout = layouts[name];
  const { id, keySize, valueSize } = mapInfo(fd);
  const current = layout === undefined ||
    layout.key.size === keySize && layout.value.size === valueSize;
  using versions = MapVersions.make(bpffs);
  if (current && versions.of(id) === 1) versions.set(id, schemaOf(name)!.version);
}

function withFd<T>(fd: number | undefined, use: (fd: number) => T): T | undefined {
  if (fd === undefined) return undefined;
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}
