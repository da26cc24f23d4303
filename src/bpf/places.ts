/**
 * Which program belongs where. Of a pod's two, `lbrp_from_pod` is on what it sends, `lbrp_to_pod` on what the node's stack
 * sends to it: on the bridge, where one serves all pods, or on the veth where there is no bridge.
 */
import type { Link, RtNetlink } from "../linux/rtnetlink.ts";
import { type Hook, isAttached } from "./attach.ts";
import type { DataPlane } from "./dataplane.ts";

/** A program and the hook it belongs on. */
export interface PlacedProgram {
  name: "lbrp_from_pod" | "lbrp_to_pod";
  hook: Hook;
  device: string;
}

/** Where the programs of the pod behind `host` belong, in the order in which they are put there. */
export function placePrograms(bpffs: string, nl: RtNetlink, host: Link): PlacedProgram[] {
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
export function outletProgram(bpffs: string, nl: RtNetlink, device: Link): PlacedProgram {
  const hook: Hook = { bpffs, nl, ifindex: device.index, direction: "egress" };
  return { name: "lbrp_to_pod", hook, device: device.name };
}

/** Whether the pinned version of the program is on its hook. */
export function isInPlace(dataPlane: DataPlane, { name, hook }: PlacedProgram): boolean {
  return isAttached({ ...hook, programFd: dataPlane.programFd(name) }) !== undefined;
}
