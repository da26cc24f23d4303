/**
 * ADD: puts lbrp on a pod that the plugins before pcnk have wired, and enters its addresses as endpoints of this node.
 *
 * Limitation: IPv4 only. A pod with IPv6 addresses alone is left to the plugins before.
 */
import { detach } from "../src/bpf/attach.ts";
import { type DataPlane, NotInstalledError, openDataPlane } from "../src/bpf/dataplane.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Config, JsonObject } from "./config.ts";
import type { Container } from "./env.ts";
import { CniError, CODE } from "./errors.ts";
import { attachMode, placePrograms, putInPlace } from "./hooks.ts";
import type { Log } from "./log.ts";
import { ownResult, podAddresses } from "./result.ts";
import { type Attachment, State } from "./state.ts";
import { findVeth } from "./veth.ts";

/**
 * Returns the result to print. When it throws, what it has done is undone.
 * @throws {CniError} code 7 without prevResult, 11 without a data plane, 3 without the pod's namespace or interface
 */
export function add(config: Config, container: Container, log: Log): JsonObject {
  const { prevResult, bpffs, stateDir } = config;
  if (!prevResult) {
    throw new CniError(
      CODE.INVALID_CONFIG,
      "there is no prevResult",
      "pcnk is a chained plugin: put it behind one that makes the interface, such as bridge",
    );
  }
  const addresses = podAddresses(prevResult, container);
  using dataPlane = openInstalled(bpffs);
  using nl = RtNetlink.open();
  const veth = findVeth(nl, container);
  using state = State.open(stateDir, "shared");
  const attachment: Attachment = {
    containerID: container.containerID,
    ifname: container.ifname,
    network: config.name,
    netns: container.netns!,
    hostIfindex: veth.host.index,
    hostIfname: veth.host.name,
    mac: veth.mac,
    addresses,
  };
  state.write(attachment);
  try {
    const mode = attachMode(stateDir);
    for (const placed of placePrograms(bpffs, nl, veth.host)) putInPlace(dataPlane, placed, mode);
    for (const address of addresses) enter(dataPlane, attachment, address);
  } catch (error) {
    undo(dataPlane, nl, attachment);
    state.remove(attachment);
    throw error;
  }
  log.info("pod added", { ...attachment });
  return ownResult(prevResult, config.cniVersion);
}

function enter(
  dataPlane: DataPlane,
  attachment: Attachment,
  { address, gateway }: Attachment["addresses"][number],
): void {
  dataPlane.maps.endpoints.set({ addr: address }, {
    ifindex: attachment.hostIfindex,
    mac: attachment.mac,
    gateway: gateway ?? "0.0.0.0",
  });
}

/** @throws {CniError} code 11 when no data plane is installed */
function openInstalled(bpffs: string): DataPlane {
  try {
    return openDataPlane(bpffs);
  } catch (error) {
    if (!(error instanceof NotInstalledError)) throw error;
    throw new CniError(
      CODE.TRY_AGAIN_LATER,
      `pcnk's eBPF programs are not loaded at ${bpffs}`,
      "start `pcnk agent` on this node, which loads them; after that pods need no agent",
    );
  }
}

/**
 * Takes an attachment out of the kernel, as far as it is there. An address that has gone to another pod meanwhile is left
 * to that pod, and so is a device that only has the old one's index.
 */
export function undo(
  dataPlane: DataPlane | undefined,
  nl: RtNetlink,
  attachment: Attachment,
): void {
  const { hostIfindex: ifindex, hostIfname, addresses } = attachment;
  if (!dataPlane) return;
  const { endpoints } = dataPlane.maps;
  for (const { address } of addresses) {
    if (endpoints.get({ addr: address })?.ifindex === ifindex) endpoints.delete({ addr: address });
  }
  const device = nl.link(ifindex);
  if (device && device.name !== hostIfname) return;
  for (const direction of ["ingress", "egress"] as const) {
    detach({ bpffs: dataPlane.bpffs, nl, ifindex, direction });
  }
}
