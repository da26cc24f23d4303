/** DEL: releases a pod. Succeeds whatever is gone already: namespace, veth, prevResult, record, pins. */
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { PodAddress } from "../src/node/attachments.ts";
import type { Config } from "./config.ts";
import type { Container } from "./env.ts";
import { openEndpoints } from "./installed.ts";
import type { Log } from "./log.ts";
import { type Handles, release, releaseAll, releasePrograms } from "./release.ts";
import { nodeInterfaces, podAddresses } from "./result.ts";
import { State, type Stored } from "./state.ts";
import { findVeth } from "./veth.ts";

export function del(config: Config, container: Container, log: Log): void {
  using nl = RtNetlink.open();
  using endpoints = openEndpoints(config.bpffs);
  using state = State.openIfThere(config.stateDir);
  const handles = { bpffs: config.bpffs, nl, endpoints };
  const attachment = state?.read(container);
  if (attachment) {
    release(handles, attachment);
    log.info("pod deleted", { ...attachment });
  } else {
    releaseUnrecorded(handles, state?.list() ?? [], traces(config, container, log, nl));
    log.debug("the pod has no record: released what its namespace and prevResult name", {
      ...container,
    });
  }
  state?.remove(container);
}

/** What is known of an attachment without a record. */
interface Traces {
  /** Indexes of devices that may be its host end. */
  devices: Set<number>;
  addresses: PodAddress[];
}

/** Reads namespace and prevResult, for an attachment whose record was deleted before or lost. */
function traces(config: Config, container: Container, log: Log, nl: RtNetlink): Traces {
  const found: Traces = { devices: new Set(), addresses: [] };
  if (container.netns) {
    try {
      found.devices.add(findVeth(nl, container).host.index);
    } catch {
      // The namespace or its interface is gone.
    }
  }
  if (config.prevResult) {
    try {
      found.addresses = podAddresses(config.prevResult, container);
      for (const name of nodeInterfaces(config.prevResult)) {
        const link = nl.link(name);
        if (link?.kind === "veth") found.devices.add(link.index);
      }
    } catch (error) {
      log.warn("prevResult is ignored", { reason: (error as Error).message });
    }
  }
  return found;
}

/** Releases what the traces name, unless the record of another attachment holds it. */
function releaseUnrecorded(
  handles: Handles,
  records: Stored[],
  { devices, addresses }: Traces,
): void {
  const others = records.flatMap(({ attachment }) => attachment ?? []);
  for (const { hostIfindex } of others) devices.delete(hostIfindex);
  for (const ifindex of devices) releasePrograms(handles, ifindex);
  if (!handles.endpoints) return;
  const claimed = new Set(others.flatMap((one) => one.addresses.map(({ address }) => address)));
  for (const { address: addr } of addresses) {
    const entry = handles.endpoints.get({ addr });
    if (!entry || claimed.has(addr)) continue;
    if (devices.has(entry.ifindex) || !handles.nl.link(entry.ifindex)) releaseAll(handles, [addr]);
  }
}
