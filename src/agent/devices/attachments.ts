/**
 * What CNI calls have made on this node, looked after: programs that are missing from their devices are put back, and
 * endpoints of devices that are gone are dropped.
 */
import { join } from "node:path";
import { type AttachMode, attachPinned, removeStaleLinks } from "../../bpf/attach.ts";
import type { DataPlane } from "../../bpf/dataplane.ts";
import { isInPlace, type PlacedProgram, placePrograms } from "../../bpf/places.ts";
import type { RtNetlink } from "../../linux/rtnetlink.ts";
import type { Log } from "../log.ts";

/** The part of an attachment's record (cni/state.ts) that tells its device. */
export interface DeviceRecord {
  containerID: string;
  hostIfindex: number;
  hostIfname: string;
}

export interface AttachmentContext {
  dataPlane: DataPlane;
  nl: RtNetlink;
  stateDir: string;
  attach: AttachMode;
  log: Log;
}

/** Reads the records; those that are half written or strange are left to the plugin's GC. */
export function readRecords(stateDir: string): DeviceRecord[] {
  return readValues(stateDir).flatMap(({ containerID, hostIfindex, hostIfname }) =>
    typeof hostIfindex === "number" && typeof hostIfname === "string"
      ? [{ containerID: String(containerID), hostIfindex, hostIfname }]
      : []
  );
}

/** Paths of the pods' network namespaces, as the runtime called them at the ADD; they may be gone. */
export function readNetnsPaths(stateDir: string): string[] {
  const paths = readValues(stateDir).flatMap(({ netns }) =>
    typeof netns === "string" && netns.startsWith("/") ? [netns] : []
  );
  return [...new Set(paths)];
}

function readValues(stateDir: string): Record<string, unknown>[] {
  const directory = join(stateDir, "attachments");
  const values: Record<string, unknown>[] = [];
  for (const name of listNames(directory)) {
    if (name.startsWith(".") || !name.endsWith(".json")) continue;
    try {
      values.push(JSON.parse(Deno.readTextFileSync(join(directory, name))) ?? {});
    } catch {
      // Removed meanwhile, or no JSON.
    }
  }
  return values;
}

function listNames(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Puts programs back onto the devices of recorded pods. */
export function restorePrograms(context: AttachmentContext) {
  const { nl, stateDir, log } = context;
  for (const record of readRecords(stateDir)) {
    const host = nl.link(record.hostIfindex);
    if (host?.name !== record.hostIfname) continue; // gone; its index may be another's by now
    for (const placed of placePrograms(context.dataPlane.bpffs, nl, host)) {
      if (!ensureProgram(context, placed)) continue;
      const fields = { container: record.containerID, device: placed.device };
      log.warn(fields, `${placed.name} was missing and is attached again`);
    }
  }
}

/** Attaches the pinned version of a program unless it is there; tells whether it had to. Errors are logged. */
export function ensureProgram(
  { dataPlane, attach, log }: Pick<AttachmentContext, "dataPlane" | "attach" | "log">,
  placed: PlacedProgram,
): boolean {
  try {
    if (isInPlace(dataPlane, placed)) return false;
    attachPinned({ ...placed.hook, name: placed.name, mode: attach });
    return true;
  } catch (error) {
    log.error({ err: error, device: placed.device }, `${placed.name} cannot be attached`);
    return false;
  }
}

/**
 * Drops endpoints whose device is gone, and pins of links whose device is gone. Locks CNI calls out meanwhile: an address
 * may just be going to a new pod.
 */
export async function dropVanished({ dataPlane, nl, stateDir, log }: AttachmentContext) {
  const gone = () => {
    const present = new Set(nl.links().map(({ index }) => index));
    return dataPlane.maps.endpoints.entries().filter(([, { ifindex }]) => !present.has(ifindex));
  };
  if (gone().length > 0) {
    using lock = await Deno.open(join(stateDir, "lock"), {
      create: true,
      write: true,
      mode: 0o600,
    });
    await lock.lock(true);
    for (const [{ addr }, { ifindex }] of gone()) {
      dataPlane.maps.endpoints.delete({ addr });
      log.info({ addr, ifindex }, "dropped an endpoint whose device is gone");
    }
  }
  for (const ifindex of removeStaleLinks(dataPlane.bpffs)) {
    log.info({ ifindex }, "removed the pin of a link whose device is gone");
  }
}
