/**
 * GC: reaps what no valid attachment owns: records of this network, endpoint entries without any record, pins of links whose
 * device is gone. Other networks' records are theirs to reap (SPEC 1.1, section 2, "GC").
 */
import { removeStaleLinks } from "../src/bpf/attach.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import { undo } from "./add.ts";
import type { Config } from "./config.ts";
import { openIfInstalled } from "./del.ts";
import type { AttachmentId } from "./env.ts";
import { CniError, CODE } from "./errors.ts";
import type { Log } from "./log.ts";
import { State } from "./state.ts";

/** @throws {CniError} code 7 without the list of valid attachments: reaping everything is nothing to guess */
export function gc(config: Config, log: Log): void {
  if (!config.validAttachments) {
    throw new CniError(CODE.INVALID_CONFIG, "cni.dev/valid-attachments is missing");
  }
  const valid = new Set(config.validAttachments.map(key));
  using state = State.open(config.stateDir, "exclusive");
  using nl = RtNetlink.open();
  using dataPlane = openIfInstalled(config.bpffs);
  const owned = new Set<string>();
  for (const attachment of state.list()) {
    if (attachment.network === config.name && !valid.has(key(attachment))) {
      undo(dataPlane, nl, attachment);
      state.remove(attachment);
      log.info("reaped an attachment", { ...attachment });
      continue;
    }
    for (const { address } of attachment.addresses) {
      owned.add(`${attachment.hostIfindex} ${address}`);
    }
  }
  if (!dataPlane) return;
  const { endpoints } = dataPlane.maps;
  for (const [{ addr }, { ifindex }] of endpoints.entries()) {
    if (owned.has(`${ifindex} ${addr}`)) continue;
    endpoints.delete({ addr });
    log.info("reaped an endpoint", { addr, ifindex });
  }
  for (const ifindex of removeStaleLinks(config.bpffs)) log.info("reaped a link pin", { ifindex });
}

function key({ containerID, ifname }: AttachmentId): string {
  return `${containerID}@${ifname}`;
}
