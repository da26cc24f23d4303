/**
 * GC: reaps what no valid attachment owns, after DELs that never came: records of this network, endpoint entries, programs
 * on veth devices, pins of links whose device is gone. It does what it can and tells in the end what it could not. Other
 * networks' records are theirs to reap (SPEC 1.1, section 2, "GC").
 */
import { listAttachments, removeStaleLinks } from "../src/bpf/attach.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Attachment, AttachmentId } from "../src/node/attachments.ts";
import type { Config } from "./config.ts";
import { CniError, CODE } from "./errors.ts";
import { openEndpoints } from "./installed.ts";
import type { Log } from "./log.ts";
import { type Ground, owns, release, releasePrograms } from "./release.ts";
import { State, type Stored } from "./state.ts";

/**
 * @throws {CniError} code 7 without the list of valid attachments: reaping everything is nothing to guess; code 101 when
 *   something could not be removed
 */
export function gc(config: Config, log: Log): void {
  if (!config.validAttachments) {
    throw new CniError(CODE.INVALID_CONFIG, "cni.dev/valid-attachments is missing");
  }
  const valid = new Set(config.validAttachments.map(key));
  using nl = RtNetlink.open();
  using endpoints = openEndpoints(config.bpffs);
  using state = State.openIfThere(config.stateDir);
  const ground = { bpffs: config.bpffs, nl, endpoints };
  const reaper = new Reaper(log);
  const kept: Attachment[] = [];
  for (const stored of state?.list() ?? []) {
    if (!isStale(stored, config.name, valid)) {
      if (stored.attachment) kept.push(stored.attachment);
      continue;
    }
    reaper.try(`attachment ${key(stored.id)}`, () => {
      if (stored.attachment) release(ground, stored.attachment);
      return state?.remove(stored.id) ?? false;
    });
  }
  // What has no owner may be that of a valid attachment whose record was lost.
  const recorded = new Set(kept.map(key));
  const complete = [...valid].every((name) => recorded.has(name));
  reapEndpoints(reaper, ground, kept, complete);
  if (complete) reapPrograms(reaper, ground, kept);
  reaper.try("pins of links without a device", () => removeStaleLinks(config.bpffs).length > 0);
  if (reaper.failures.length === 0) return;
  throw new CniError(CODE.KERNEL, "GC could not reap everything", reaper.failures.join("; "));
}

/** Goes on when a step fails. */
class Reaper {
  readonly failures: string[] = [];
  constructor(readonly log: Log) {}

  try(what: string, step: () => boolean): void {
    try {
      if (step()) this.log.info(`reaped ${what}`);
    } catch (error) {
      this.failures.push(`${what}: ${(error as Error).message}`);
    }
  }
}

function key({ containerID, ifname }: AttachmentId): string {
  return `${containerID}@${ifname}`;
}

/** A damaged record does not tell its network, and is of no use to any. */
function isStale({ id, attachment }: Stored, network: string, valid: Set<string>): boolean {
  return !valid.has(key(id)) && (!attachment || attachment.network === network);
}

/** Entries whose device is gone, and those of no record when all records are there. */
function reapEndpoints(reaper: Reaper, ground: Ground, kept: Attachment[], complete: boolean) {
  const { endpoints, nl } = ground;
  if (!endpoints) return;
  const alive = new Set(nl.links().map(({ index }) => index));
  for (const [{ addr }, entry] of endpoints.entries()) {
    const owned = kept.some((one) =>
      owns(one, entry) && one.addresses.some(({ address }) => address === addr)
    );
    if (alive.has(entry.ifindex) && (owned || !complete)) continue;
    reaper.try(`the endpoint ${addr}`, () => endpoints.delete({ addr }));
  }
}

/** pcnk's programs on veth devices of no record; those on other devices are the agent's. */
function reapPrograms(reaper: Reaper, ground: Ground, kept: Attachment[]) {
  const owned = new Set(kept.map(({ hostIfindex }) => hostIfindex));
  for (const { ifindex, name } of listAttachments(ground)) {
    if (owned.has(ifindex) || !name.startsWith("lbrp_")) continue;
    if (ground.nl.link(ifindex)?.kind !== "veth") continue;
    reaper.try(`${name} on device ${ifindex}`, () => releasePrograms(ground, ifindex));
  }
}
