/**
 * The data plane of a node as the maps and programs pinned on its bpffs. This file opens what is installed, which is all
 * that a CNI call needs; install.ts installs it.
 */
import { closeFd, dupFd } from "../linux/libc.ts";
import { type MapName, maps } from "./layout.ts";
import { type MapOf, openMap } from "./map.ts";
import { tryOpenVersion } from "./map_versions.ts";
import { dataPlaneReady, mapPin, programPin } from "./pins.ts";
import { objGet, tryObjGet } from "./syscall.ts";

/** Every map, typed. Each is opened at its first use. */
export type DataPlaneMaps = { readonly [N in MapName]: MapOf<typeof maps[N]> };

/** An installed data plane. `close()` closes its descriptors; the data plane goes on working. */
export class DataPlane {
  readonly #maps = new Map<MapName, { close(): void }>();
  readonly #programs = new Map<string, number>();
  readonly maps: DataPlaneMaps;
  #fresh: ReadonlyMap<string, number> | undefined;

  /** @param fresh maps that are not pinned yet, until `reopen()`; their descriptors stay the caller's */
  constructor(readonly bpffs: string, fresh?: ReadonlyMap<string, number>) {
    this.#fresh = fresh;
    const lazy = {};
    for (const name of Object.keys(maps) as MapName[]) {
      Object.defineProperty(lazy, name, { enumerable: true, get: () => this.#open(name) });
    }
    this.maps = lazy as DataPlaneMaps;
  }

  #open(name: MapName): { close(): void } {
    let map = this.#maps.get(name);
    if (!map) {
      const descriptor: Parameters<typeof openMap>[1] = maps[name];
      map = openMap(this.#descriptor(name), descriptor);
      this.#maps.set(name, map);
    }
    return map;
  }

  #descriptor(name: MapName): number {
    const fresh = this.#fresh?.get(name);
    if (fresh !== undefined) return dupFd(fresh);
    return tryOpenVersion(this.bpffs, name) ?? objGet(mapPin(this.bpffs, name));
  }

  /** Uses the programs that are pinned now; its maps are pinned now, too. */
  reopen(): void {
    this.#fresh = undefined;
    for (const fd of this.#programs.values()) closeFd(fd);
    this.#programs.clear();
  }

  /**
   * Descriptor of a pinned program, e.g. `lbrp_from_pod`; it belongs to the data plane.
   * @throws {SyscallError} ENOENT
   */
  programFd(name: string): number {
    return this.tryProgramFd(name) ?? objGet(programPin(this.bpffs, name));
  }

  /** The same; undefined when it is not pinned. */
  tryProgramFd(name: string): number | undefined {
    const fd = this.#programs.get(name) ?? tryObjGet(programPin(this.bpffs, name));
    if (fd !== undefined) this.#programs.set(name, fd);
    return fd;
  }

  close(): void {
    for (const map of this.#maps.values()) map.close();
    for (const fd of this.#programs.values()) closeFd(fd);
    this.#maps.clear();
    this.#programs.clear();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** No data plane is installed below the given directory. */
export class NotInstalledError extends Error {
  override readonly name = "NotInstalledError";
}

/**
 * Opens the data plane that is installed below `bpffs`.
 * @throws {NotInstalledError} when pins are missing: no agent has run since the node started
 */
export function openDataPlane(bpffs: string): DataPlane {
  if (!dataPlaneReady(bpffs)) {
    throw new NotInstalledError(`no data plane is installed at ${bpffs}; is the agent running?`);
  }
  return new DataPlane(bpffs);
}
