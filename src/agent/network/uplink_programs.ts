/** k8sdispatcher on the uplinks and on the overlay device. */
import { type AttachMode, attachPinned, detach, listAttachments } from "../../bpf/attach.ts";
import {
  type AttachPoint,
  isAttachedAt,
  overlayAttachPoint,
  uplinkAttachPoints,
} from "../../bpf/attach_points.ts";
import type { DataPlane } from "../../bpf/dataplane.ts";
import { ensureHeaderless } from "../../bpf/headerless.ts";
import type { Link, RtNetlink } from "../../linux/rtnetlink.ts";
import type { Log } from "../log.ts";

interface DispatchContext {
  dataPlane: DataPlane;
  nl: RtNetlink;
  attach: AttachMode;
  log: Log;
}

/** Attaches the programs, and detaches those of former uplinks. @param overlay `ifindex` undefined: there is none */
export function dispatch(
  context: DispatchContext,
  uplinks: readonly Link[],
  overlay: { ifindex?: number; name: string },
) {
  const { dataPlane: { bpffs }, nl, log } = context;
  const wanted = uplinks.flatMap((link) => uplinkAttachPoints(bpffs, nl, link));
  if (overlay.ifindex !== undefined) {
    wanted.push(overlayAttachPoint(bpffs, nl, { index: overlay.ifindex, name: overlay.name }));
  }
  for (const placed of wanted) {
    if (!ensureProgram(context, placed)) continue;
    log.info({ device: placed.device }, `${placed.name} attached`);
  }
  const present = new Set(wanted.map(({ hook }) => hook.ifindex));
  // Also those of an agent that ran before, with another uplink.
  for (const { ifindex, direction, name } of listAttachments({ bpffs, nl })) {
    if (!name.startsWith("k8sd_") || present.has(ifindex)) continue;
    detach({ bpffs, nl, ifindex, direction });
    log.info({ ifindex }, `${name} detached: the device is no uplink any more`);
  }
}

/** Attaches the pinned version of a program unless it is attached; returns whether it did. The table of objects reports failures. */
function ensureProgram({ dataPlane, attach, log }: DispatchContext, placed: AttachPoint): boolean {
  try {
    ensureHeaderless(dataPlane.bpffs, placed.name);
    if (isAttachedAt(dataPlane, placed)) return false;
    attachPinned({ ...placed.hook, name: placed.name, mode: attach });
    return true;
  } catch (error) {
    log.debug({ err: error, device: placed.device }, `${placed.name} cannot be attached`);
    return false;
  }
}
