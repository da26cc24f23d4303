/** DEL: takes a pod out. It succeeds whatever is gone already: namespace, veth, prevResult, record, pins. */
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { PodAddress } from "../src/node/attachments.ts";
import type { Config } from "./config.ts";
import type { Container } from "./env.ts";
import { openEndpoints } from "./installed.ts";
import type { Log } from "./log.ts";
import { type Ground, release, releasePrograms } from "./release.ts";
import { nodeInterfaces, podAddresses } from "./result.ts";
import { State, type Stored } from "./state.ts";
import { findVeth } from "./veth.ts";

export function del(config: Config, container: Container, log: Log): void {
  using nl = RtNetlink.open();
  using endpoints = openEndpoints(config.bpffs);
  using state = State.openIfThere(config.stateDir);
  const ground = { bpffs: config.bpffs, nl, endpoints };
  const attachment = state?.read(container);
  if (attachment) {
    release(ground, attachment);
    log.info("pod deleted", { ...attachment });
  } else {
    releaseUnrecorded(ground, state?.list() ?? [], traces(config, container, log, nl));
    log.debug("there was no record of the pod", { ...container });
  }
  state?.remove(container);
}

/** What is known of an attachment that has no record. */
interface Traces {
  /** Indexes of the devices that may be its host end. */
  devices: Set<number>;
  addresses: PodAddress[];
}

/** Without a record (it was deleted before, or the directory was lost) namespace and prevResult still tell something. */
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
      log.warn("prevResult cannot be used", { reason: (error as Error).message });
    }
  }
  return found;
}

/** Whatever the traces lead to, unless the record of another attachment claims it. */
function releaseUnrecorded(
  ground: Ground,
  records: Stored[],
  { devices, addresses }: Traces,
): void {
  const others = records.flatMap(({ attachment }) => attachment ?? []);
  for (const { hostIfindex } of others) devices.delete(hostIfindex);
  for (const ifindex of devices) releasePrograms(ground, ifindex);
  if (!ground.endpoints) return;
  const claimed = new Set(others.flatMap((one) => one.addresses.map(({ address }) => address)));
  for (const { address: addr } of addresses) {
    const entry = ground.endpoints.get({ addr });
    if (!entry || claimed.has(addr)) continue;
    if (devices.has(entry.ifindex) || !ground.nl.link(entry.ifindex)) {
      ground.endpoints.delete({ addr });
    }
  }
}
