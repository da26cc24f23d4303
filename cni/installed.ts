/** The data plane that an agent has installed, as the verbs use it: its programs, and its map of local pods. */
import { DataPlane } from "../src/bpf/dataplane.ts";
import { maps } from "../src/bpf/layout.ts";
import { MapMismatchError, type MapOf, openMap } from "../src/bpf/map.ts";
import { tryOpenVersion } from "../src/bpf/map_versions.ts";
import { PROGRAMS } from "../src/bpf/pins.ts";
import { SchemaError } from "../src/bpf/schema.ts";
import { SyscallError } from "../src/linux/libc.ts";
import { CniError, CODE } from "./errors.ts";

/** The map of local pods. */
export type Endpoints = MapOf<typeof maps.endpoints>;

/**
 * Opens the data plane with the programs and the map that a pod needs. The map's layout shows whether it is of this version.
 * @param code of the error when that fails: 11 (ADD, CHECK) or 50 (STATUS)
 * @throws {CniError}
 */
export function openInstalled(bpffs: string, code: number): DataPlane {
  const dataPlane = new DataPlane(bpffs);
  try {
    // Programs are pinned last, so their maps are there.
    for (const name of PROGRAMS) dataPlane.programFd(name);
    void dataPlane.maps.endpoints;
    return dataPlane;
  } catch (error) {
    dataPlane.close();
    const missing = error instanceof SyscallError && ["ENOENT", "ENOTDIR"].includes(error.code);
    if (!missing) throw mismatch(error, bpffs, code);
    throw new CniError(
      code,
      `pcnk's eBPF programs are not loaded at ${bpffs}`,
      "start `pcnk agent` on this node, which loads them; after that pods need no agent",
    );
  }
}

/**
 * The map of local pods; undefined where no data plane is installed.
 * @throws {CniError} code 11 when it is of another version of pcnk
 */
export function openEndpoints(bpffs: string): Endpoints | undefined {
  try {
    const fd = tryOpenVersion(bpffs, "endpoints");
    return fd === undefined ? undefined : openMap(fd, maps.endpoints);
  } catch (error) {
    throw mismatch(error, bpffs, CODE.TRY_AGAIN_LATER);
  }
}

function mismatch(error: unknown, bpffs: string, code: number): unknown {
  if (!(error instanceof MapMismatchError || error instanceof SchemaError)) return error;
  return new CniError(
    code,
    `the data plane at ${bpffs} is of another version of pcnk`,
    error.message,
  );
}
