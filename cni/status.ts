/**
 * STATUS: could an ADD succeed now? It could if the data plane is installed; no agent is needed.
 *
 * Of the spec's two codes for "no", 51 adds that pods which have a network already may be cut off: so it is when there are
 * attachments whose data plane is not what it was.
 */
import { dataPlaneReady } from "../src/bpf/pins.ts";
import { listAttachmentIds } from "../src/node/attachments.ts";
import type { Config } from "./config.ts";
import { CniError, CODE } from "./errors.ts";
import { openInstalled } from "./installed.ts";

/** @throws {CniError} code 50 or 51 when no data plane is installed, one of another version, or a part of one */
export function status({ bpffs, stateDir }: Config): void {
  const hasPods = listAttachmentIds(stateDir).length > 0;
  const code = hasPods ? CODE.LIMITED_CONNECTIVITY : CODE.NOT_AVAILABLE;
  openInstalled(bpffs, code).close();
  if (dataPlaneReady(bpffs)) return;
  throw new CniError(
    code,
    `pcnk's data plane at ${bpffs} is not whole`,
    "an agent that starts on this node repairs it",
  );
}
