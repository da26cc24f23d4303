/**
 * The attach point of each program. For a pod, `lbrp_from_pod` runs on the ingress of its veth's host end, `lbrp_to_pod` on
 * the egress of the bridge, where one serves all pods, or of the veth where there is no bridge. k8sdispatcher's run on uplinks
 * and on the overlay's device.
 */
import { hasNoHeader } from "../linux/rtnl_link.ts";
import type { Link, RtNetlink } from "../linux/rtnetlink.ts";
import { type Hook, isAttached } from "./attach.ts";
import type { DataPlane } from "./dataplane.ts";
import type { DISPATCHER_PROGRAMS, HEADERLESS_PROGRAMS, PROGRAMS } from "./pins.ts";

type LbrpProgram = typeof PROGRAMS[number];
type DispatcherProgram =
  | typeof DISPATCHER_PROGRAMS[number]
  | typeof HEADERLESS_PROGRAMS[number];

/** A hook, and the program that belongs there. */
export interface AttachPoint<N = LbrpProgram | DispatcherProgram> {
  name: N;
  hook: Hook;
  device: string;
}

/** Those of the pod behind `host`, in the order of attaching. */
export function podAttachPoints(
  bpffs: string,
  nl: RtNetlink,
  host: Link,
): AttachPoint<LbrpProgram>[] {
  const master = host.master === undefined ? undefined : nl.link(host.master);
  const outlet = master?.kind === "bridge" ? master : host;
  return [
    outletAttachPoint(bpffs, nl, outlet),
    {
      name: "lbrp_from_pod",
      hook: { bpffs, nl, ifindex: host.index, direction: "ingress" },
      device: host.name,
    },
  ];
}

/** That of the device through which the node's stack reaches pods. */
export function outletAttachPoint(
  bpffs: string,
  nl: RtNetlink,
  device: Link,
): AttachPoint<LbrpProgram> {
  const hook: Hook = { bpffs, nl, ifindex: device.index, direction: "egress" };
  return { name: "lbrp_to_pod", hook, device: device.name };
}

/** k8sdispatcher's on an uplink, with or without Ethernet header. */
export function uplinkAttachPoints(
  bpffs: string,
  nl: RtNetlink,
  device: Pick<Link, "index" | "name" | "type" | "pointToPoint">,
): AttachPoint<DispatcherProgram>[] {
  const at = (direction: Hook["direction"]): Pick<AttachPoint, "hook" | "device"> => ({
    hook: { bpffs, nl, ifindex: device.index, direction },
    device: device.name,
  });
  const headerless = hasNoHeader(device);
  return [
    { name: headerless ? "k8sd_to_l3" : "k8sd_to_uplink", ...at("egress") },
    { name: headerless ? "k8sd_from_l3" : "k8sd_from_uplink", ...at("ingress") },
  ];
}

/** k8sdispatcher's on the overlay's device. */
export function overlayAttachPoint(
  bpffs: string,
  nl: RtNetlink,
  device: Pick<Link, "index" | "name">,
): AttachPoint<DispatcherProgram> {
  const hook: Hook = { bpffs, nl, ifindex: device.index, direction: "ingress" };
  return { name: "k8sd_from_overlay", hook, device: device.name };
}

/** Whether the pinned version of the program is attached. */
export function isAttachedAt(dataPlane: DataPlane, { name, hook }: AttachPoint): boolean {
  const programFd = dataPlane.tryProgramFd(name);
  return programFd !== undefined && isAttached({ ...hook, programFd }) !== undefined;
}
