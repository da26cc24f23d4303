/**
 * The version of each pinned map's schema: in a pinned map of its own, by the kernel's id of the map. A row is written
 * before its map is pinned, so the map's pin, which appears or is replaced in one step, commits both.
 */
import { closeFd } from "../linux/libc.ts";
import { u32 } from "./codec.ts";
import { BpfMap } from "./map.ts";
import { listPins, mapPin, replacePin } from "./pins.ts";
import { type PinnedMap, SchemaError, schemaOf, SCHEMAS } from "./schema.ts";
import { MAP_TYPE, mapCreate, mapInfo, tryObjGet } from "./syscall.ts";

/** Its name. Its own layout never changes. */
export const SCHEMA_MAP = "schema";

/** Release 0.1.0 kept no versions: all that it made is of this one. */
const FIRST = 1;

/** The pinned map of versions. */
export class MapVersions {
  readonly #map: BpfMap<number, number>;

  private constructor(map: BpfMap<number, number>) {
    this.#map = map;
  }

  /** Opens it, where it is there. */
  static open(bpffs: string): MapVersions | undefined {
    const fd = tryObjGet(mapPin(bpffs, SCHEMA_MAP));
    return fd === undefined ? undefined : new MapVersions(BpfMap.fromFd(fd, u32, u32, SCHEMA_MAP));
  }

  /** Opens it, and makes it first where it is missing. */
  static make(bpffs: string): MapVersions {
    const found = MapVersions.open(bpffs);
    if (found !== undefined) return found;
    const type = MAP_TYPE.HASH;
    const fd = mapCreate({ type, keySize: 4, valueSize: 4, maxEntries: 1024, name: SCHEMA_MAP });
    const map = BpfMap.fromFd(fd, u32, u32, SCHEMA_MAP);
    replacePin(mapPin(bpffs, SCHEMA_MAP), fd);
    return new MapVersions(map);
  }

  /** The version of a map by the kernel's id of it. */
  of(id: number): number {
    return this.#map.get(id) ?? FIRST;
  }

  set(id: number, version: number): void {
    this.#map.set(id, version);
  }

  /** Forgets the maps that are not among these: the kernel may give their ids to others. */
  retain(ids: ReadonlySet<number>): void {
    this.#map.deleteBatch(this.#map.keys().filter((id) => !ids.has(id)));
  }

  close(): void {
    this.#map.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A pinned map and its version. */
export interface PinnedVersion {
  name: string;
  id: number;
  maxEntries: number;
  version: number;
}

/** Every pinned map that has a schema. @throws {SyscallError} */
export function pinnedVersions(bpffs: string): PinnedVersion[] {
  using versions = MapVersions.open(bpffs);
  return listPins(`${bpffs}/map`).flatMap((name) => {
    const fd = schemaOf(name) && tryObjGet(mapPin(bpffs, name));
    if (fd === undefined) return [];
    try {
      const { id, maxEntries } = mapInfo(fd);
      return [{ name, id, maxEntries, version: versions?.of(id) ?? FIRST }];
    } finally {
      closeFd(fd);
    }
  });
}

/**
 * Refuses pins that only a newer pcnk can use; looks, and changes nothing.
 * @throws {SchemaError}
 */
export function refuseNewer(bpffs: string): void {
  for (const { name, version } of pinnedVersions(bpffs)) {
    const known = schemaOf(name)!.version;
    if (version > known) throw new SchemaError(mapPin(bpffs, name), version, known);
  }
}

/**
 * Opens a pinned map if it is of the version that this executable uses; undefined when nothing is pinned there.
 * @throws {SchemaError}
 */
export function tryOpenVersion(bpffs: string, name: PinnedMap): number | undefined {
  const pin = mapPin(bpffs, name);
  const fd = tryObjGet(pin);
  if (fd === undefined) return undefined;
  try {
    const known = SCHEMAS[name].version;
    using versions = MapVersions.open(bpffs);
    const found = versions?.of(mapInfo(fd).id) ?? FIRST;
    if (found !== known) throw new SchemaError(pin, found, known);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}
