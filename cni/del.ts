/** DEL: takes a pod out. It succeeds whatever is gone already: namespace, veth, prevResult, record, pins. */
import { type DataPlane, NotInstalledError, openDataPlane } from "../src/bpf/dataplane.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import { undo } from "./add.ts";
import type { Config } from "./config.ts";
import type { Container } from "./env.ts";
import type { Log } from "./log.ts";
import { podAddresses } from "./result.ts";
import { type Attachment, State } from "./state.ts";
import { findVeth } from "./veth.ts";

export function del(config: Config, container: Container, log: Log): void {
  using state = State.open(config.stateDir, "shared");
  using nl = RtNetlink.open();
  const attachment = state.read(container) ?? reconstruct(nl, config, container);
  if (!attachment) {
    log.info("nothing to delete", { ...container });
    return;
  }
  using dataPlane = openIfInstalled(config.bpffs);
  undo(dataPlane, nl, attachment);
  state.remove(container);
  log.info("pod deleted", { ...attachment });
}

/** The data plane, or undefined when there is none and so nothing in it. */
export function openIfInstalled(bpffs: string): DataPlane | undefined {
  try {
    return openDataPlane(bpffs);
  } catch (error) {
    if (error instanceof NotInstalledError) return undefined;
    throw error;
  }
}

/** Without a record (its directory was lost) the pod's namespace and prevResult still tell what there is to undo. */
function reconstruct(nl: RtNetlink, config: Config, container: Container): Attachment | undefined {
  if (!container.netns || !config.prevResult) return undefined;
  try {
    const { host, mac } = findVeth(nl, container);
    return {
      containerID: container.containerID,
      ifname: container.ifname,
      network: config.name,
      netns: container.netns,
      hostIfindex: host.index,
      hostIfname: host.name,
      mac,
      addresses: podAddresses(config.prevResult, container),
    };
  } catch {
    return undefined;
  }
}
