/**
 * The bridge's part of the end of a pod's segment (bpf/lib/segment.h): the port of a pod whose source addresses are checked
 * learns no MAC address and gets no frame but those for its pod, whose MAC address is entered; and it is isolated, unless what
 * the pod sends to others of this node goes through the bridge.
 *
 * The port of an exempt pod is one as any: behind it are MAC addresses of others.
 */
import { type FdbEntry, NEIGH_STATE } from "../linux/rtnl_neigh.ts";
import type { PortSwitches } from "../linux/rtnl_link.ts";
import type { Link, RtNetlink } from "../linux/rtnetlink.ts";
import type { DataPlaneMaps } from "./dataplane.ts";
import { NODE_FLAG, POD_DEVICE_FLAG, RATE_FLAG } from "./layout.ts";

/** A new port's. */
export const ORDINARY_PORT: PortSwitches = { isolated: false, learning: true, flood: true };

/**
 * What the port of a pod is to be.
 * @param rates RATE_FLAG, of its device
 */
export function portSwitches(
  { config, pod_devices }: Pick<DataPlaneMaps, "config" | "pod_devices">,
  ifindex: number,
  rates: number,
): PortSwitches {
  const flags = config.get(0)?.flags ?? 0;
  const exempt = (pod_devices.get({ ifindex })?.flags ?? 0) & POD_DEVICE_FLAG.UNCHECKED;
  if (exempt || !(flags & NODE_FLAG.SOURCE_CHECK)) return ORDINARY_PORT;
  const bridged = (rates & RATE_FLAG.EGRESS) | (flags & NODE_FLAG.POD_MULTICAST);
  return { isolated: bridged === 0, learning: false, flood: false };
}

/** How a port differs from that, for a message; empty: it does not. */
export function portDifference(
  { portLimits = [] }: Pick<Link, "portLimits">,
  { isolated, learning, flood }: PortSwitches,
): string {
  const differs = (what: string, wanted: boolean, held: boolean) =>
    wanted === held ? [] : [`${what} is ${held ? "on" : "off"}`];
  return [
    ...differs("isolation", isolated, portLimits.includes("isolated")),
    ...differs("learning", learning, !portLimits.includes("no learning")),
    ...differs("flooding", flood, !portLimits.includes("no flooding")),
  ].join(", ");
}

/** The entry of a pod's MAC address in the bridge's table: no other port takes it over. */
function podFdbEntry(ifindex: number, mac: string): FdbEntry {
  return { ifindex, mac, master: true, state: NEIGH_STATE.NOARP, sticky: true };
}

/** Is it that entry? */
export function isPodFdbEntry(entry: FdbEntry, ifindex: number, mac: string): boolean {
  return entry.ifindex === ifindex && entry.mac === mac && entry.state === NEIGH_STATE.NOARP &&
    entry.sticky === true;
}

/** Makes a port of a bridge the end of a pod's segment. */
export function closePort(nl: RtNetlink, ifindex: number, mac: string, to: PortSwitches): void {
  nl.replaceFdb(podFdbEntry(ifindex, mac));
  nl.setPort(ifindex, to);
}

/** Makes it one as any, which it may be already. */
export function openPort(nl: RtNetlink, { index, master, portLimits }: Link, mac: string): void {
  if (master === undefined || portLimits === undefined) return;
  if (portLimits.length > 0) nl.setPort(index, ORDINARY_PORT);
  nl.delFdb(podFdbEntry(index, mac));
}
