/**
 * GC: removes what no valid attachment owns, after DELs that never came: records of this network, endpoint entries, programs
 * on veth devices, pins of links whose device is gone. A failure does not keep the rest; the error at the end names all of
 * them. Records of other networks are left to those (SPEC 1.1, section 2, "GC").
 */
import { listAttachments, removeStaleLinks } from "../src/bpf/attach.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Attachment, AttachmentId } from "../src/node/attachments.ts";
import type { Config } from "./config.ts";
import { CniError, CODE } from "./errors.ts";
import { openEndpoints } from "./installed.ts";
import type { Log } from "./log.ts";
import {
  type Handles,
  openPodDevices,
  owns,
  release,
  releaseAll,
  releasePrograms,
} from "./release.ts";
import { State, type Stored } from "./state.ts";

/**
 * @throws {CniError} code 7 without the list of valid attachments: an empty list would remove everything; code 101 when
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
  const handles = { bpffs: config.bpffs, nl, endpoints };
  const collector = new Collector(log);
  const kept: Attachment[] = [];
  for (const stored of state?.list() ?? []) {
    if (!isStale(stored, config.name, valid)) {
      if (stored.attachment) kept.push(stored.attachment);
      continue;
    }
    collector.try(`attachment ${key(stored.id)}`, () => {
      if (stored.attachment) release(handles, stored.attachment);
      return state?.remove(stored.id) ?? false;
    });
  }
  // Without an owner on record: it may belong to a valid attachment whose record was lost.
  const recorded = new Set(kept.map(key));
  const complete = [...valid].every((name) => recorded.has(name));
  collectEndpoints(collector, handles, kept, complete);
  if (complete) collectPrograms(collector, handles, kept);
  collectDevices(collector, handles, kept, complete);
  collector.try("pins of links without a device", () => removeStaleLinks(config.bpffs).length > 0);
  if (collector.failures.length === 0) return;
  throw new CniError(CODE.KERNEL, "GC could not remove everything", collector.failures.join("; "));
}

/** Goes on when a step fails. */
class Collector {
  readonly failures: string[] = [];
  constructor(readonly log: Log) {}

  try(what: string, step: () => boolean): void {
    try {
      if (step()) this.log.info(`removed ${what}`);
    } catch (error) {
      this.failures.push(`${what}: ${(error as Error).message}`);
    }
  }
}

function key({ containerID, ifname }: AttachmentId): string {
  return `${containerID}@${ifname}`;
}

/** A damaged record names no network, and serves none. */
function isStale({ id, attachment }: Stored, network: string, valid: Set<string>): boolean {
  return !valid.has(key(id)) && (!attachment || attachment.network === network);
}

/** Removes entries whose device is gone, and those without a record when no record is missing. */
function collectEndpoints(
  collector: Collector,
  handles: Handles,
  kept: Attachment[],
  complete: boolean,
) {
  const { endpoints, nl } = handles;
  if (!endpoints) return;
  const alive = new Set(nl.links().map(({ index }) => index));
  for (const [{ addr }, entry] of endpoints.entries()) {
    const owned = kept.some((one) =>
      owns(one, entry) && one.addresses.some(({ address }) => address === addr)
    );
    if (alive.has(entry.ifindex) && (owned || !complete)) continue;
    collector.try(`the endpoint ${addr}`, () => releaseAll(handles, [addr]));
  }
}

/** Removes entries of devices that are gone, and those without a record when no record is missing. */
function collectDevices(
  collector: Collector,
  { bpffs, nl }: Handles,
  kept: Attachment[],
  complete: boolean,
) {
  using devices = openPodDevices(bpffs);
  const owned = new Set(kept.map(({ hostIfindex }) => hostIfindex));
  for (const { ifindex } of devices?.keys() ?? []) {
    if (owned.has(ifindex) || (!complete && nl.link(ifindex))) continue;
    collector.try(`the entry of device ${ifindex}`, () => devices!.delete({ ifindex }));
  }
}

/** Detaches pcnk's programs from veth devices without a record; those on other devices are the agent's. */
function collectPrograms(collector: Collector, handles: Handles, kept: Attachment[]) {
  const owned = new Set(kept.map(({ hostIfindex }) => hostIfindex));
  for (const { ifindex, name } of listAttachments(handles)) {
    if (owned.has(ifindex) || !name.startsWith("lbrp_")) continue;
    if (handles.nl.link(ifindex)?.kind !== "veth") continue;
    collector.try(`${name} on device ${ifindex}`, () => releasePrograms(handles, ifindex));
  }
}
