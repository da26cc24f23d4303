/** Programs on uplinks, and what CNI calls left of devices that are gone. */
import { type AttachMode, attachPinned, removeStaleLinks } from "../../bpf/attach.ts";
import type { DataPlane } from "../../bpf/dataplane.ts";
import { type AttachPoint, isAttachedAt } from "../../bpf/attach_points.ts";
import type { RtNetlink } from "../../linux/rtnetlink.ts";
import { openLock } from "../../node/attachments.ts";
import type { Log } from "../log.ts";

export interface AttachmentContext {
  dataPlane: DataPlane;
  nl: RtNetlink;
  stateDir: string;
  attach: AttachMode;
  log: Log;
}

/** Attaches the pinned version of a program unless it is attached; returns whether it did. Logs errors. */
export function ensureProgram(
  { dataPlane, attach, log }: Pick<AttachmentContext, "dataPlane" | "attach" | "log">,
  placed: AttachPoint,
): boolean {
  try {
    if (isAttachedAt(dataPlane, placed)) return false;
    attachPinned({ ...placed.hook, name: placed.name, mode: attach });
    return true;
  } catch (error) {
    log.error({ err: error, device: placed.device }, `${placed.name} cannot be attached`);
    return false;
  }
}

/**
 * Drops endpoints and entries of devices that are gone, and pins of links whose device is gone. Locks CNI calls out meanwhile: an address
 * may just be going to a new pod.
 */
export async function dropVanished({ dataPlane, nl, stateDir, log }: AttachmentContext) {
  const { endpoints, pod_devices } = dataPlane.maps;
  const gone = () => {
    const present = new Set(nl.links().map(({ index }) => index));
    return {
      addresses: endpoints.entries().filter(([, { ifindex }]) => !present.has(ifindex)),
      devices: pod_devices.keys().filter(({ ifindex }) => !present.has(ifindex)),
    };
  };
  const { addresses, devices } = gone();
  if (addresses.length + devices.length > 0) {
    using lock = openLock(stateDir);
    await lock.lock(true);
    const { addresses, devices } = gone();
    for (const [{ addr }, { ifindex }] of addresses) {
      endpoints.delete({ addr });
      log.info({ addr, ifindex }, "dropped an endpoint whose device is gone");
    }
    pod_devices.deleteBatch(devices);
  }
  for (const ifindex of removeStaleLinks(dataPlane.bpffs)) {
    log.info({ ifindex }, "removed the pin of a link whose device is gone");
  }
}
