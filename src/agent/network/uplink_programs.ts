/** k8sdispatcher on the uplinks and on the overlay device. */
import { detach, listAttachments } from "../../bpf/attach.ts";
import { overlayAttachPoint, uplinkAttachPoints } from "../../bpf/attach_points.ts";
import type { Link } from "../../linux/rtnetlink.ts";
import { type AttachmentContext, ensureProgram } from "../devices/attachments.ts";

/** Attaches the programs, and detaches those of former uplinks. @param overlay `ifindex` undefined: there is none */
export function dispatch(
  context: Omit<AttachmentContext, "stateDir">,
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
