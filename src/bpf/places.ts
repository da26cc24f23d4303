/**
 * Which program belongs where. Of a pod's two, `lbrp_from_pod` is on what it sends, `lbrp_to_pod` on what the node's stack
 * sends to it: on the bridge, where one serves all pods, or on the veth where there is no bridge. k8sdispatcher's are on the
 * uplink and on the overlay's device.
 */
import type { Link, RtNetlink } from "../linux/rtnetlink.ts";
import { type Hook, isAttached } from "./attach.ts";
import type { DataPlane } from "./dataplane.ts";
import type { DISPATCHER_PROGRAMS, PROGRAMS } from "./pins.ts";

type LbrpProgram = typeof PROGRAMS[number];
type DispatcherProgram = typeof DISPATCHER_PROGRAMS[number];

/** A program and the hook it belongs on. */
export interface PlacedProgram<N = LbrpProgram | DispatcherProgram> {
  name: N;
  hook: Hook;
  device: string;
}

/** Where the programs of the pod behind `host` belong, in the order in which they are put there. */
export function placePrograms(
  bpffs: string,
  nl: RtNetlink,
  host: Link,
): PlacedProgram<LbrpProgram>[] {
  const master = host.master === undefined ? undefined : nl.link(host.master);
  const outlet = master?.kind === "bridge" ? master : host;
  return [
    outletProgram(bpffs, nl, outlet),
    {
      name: "lbrp_from_pod",
      hook: { bpffs, nl, ifindex: host.index, direction: "ingress" },
      device: host.name,
    },
  ];
}

/** The program of the device through which the node's stack reaches pods. */
export function outletProgram(
  bpffs: string,
  nl: RtNetlink,
  device: Link,
): PlacedProgram<LbrpProgram> {
  const hook: Hook = { bpffs, nl, ifindex: device.index, direction: "egress" };
  return { name: "lbrp_to_pod", hook, device: device.name };
}

/** k8sdispatcher's programs of a device to the other nodes and the world. */
export function uplinkPrograms(
  bpffs: string,
  nl: RtNetlink,
  device: Pick<Link, "index" | "name">,
): PlacedProgram<DispatcherProgram>[] {
  const at = (direction: Hook["direction"]): Pick<PlacedProgram, "hook" | "device"> => ({
    hook: { bpffs, nl, ifindex: device.index, direction },
    device: device.name,
  });
  return [
    { name: "k8sd_to_uplink", ...at("egress") },
    { name: "k8sd_from_uplink", ...at("ingress") },
  ];
}

/** k8sdispatcher's program of the overlay's device. */
export function overlayProgram(
  bpffs: string,
  nl: RtNetlink,
  device: Pick<Link, "index" | "name">,
): PlacedProgram<DispatcherProgram> {
  const hook: Hook = { bpffs, nl, ifindex: device.index, direction: "ingress" };
  return { name: "k8sd_from_overlay", hook, device: device.name };
}

/** Whether the pinned version of the program is on its hook. */
export function isInPlace(dataPlane: DataPlane, { name, hook }: PlacedProgram): boolean {
  return isAttached({ ...hook, programFd: dataPlane.programFd(name) }) !== undefined;
}
