/**
 * Limits that another CNI plugin (the reference plugin `bandwidth`) puts on a pod's device: a qdisc for what the pod receives,
 * and filters that lead what it sends to another device's qdisc. lbrp honours both: it goes through the qdisc instead of past
 * it, and leaves what the pod sends to the filters (`rates` in bpf/lib/types.h).
 */
import type { Link, RtNetlink } from "../linux/rtnetlink.ts";
import { RATE_FLAG, RATE_SLOTS } from "./layout.ts";
import type { maps } from "./layout.ts";
import type { MapOf } from "./map.ts";

/** The limits on a device: RATE_FLAG. A veth without any has the qdisc `noqueue`, and no filters but programs. */
export function deviceRates(nl: RtNetlink, { index, qdisc = "noqueue" }: Link): number {
  const filters = nl.filterList(index, "ingress");
  return (qdisc === "noqueue" ? 0 : RATE_FLAG.INGRESS) |
    (filters.some(({ kind }) => kind !== "bpf") ? RATE_FLAG.EGRESS : 0);
}

/** The limits of a device that the programs know. */
export function knownRates(rates: MapOf<typeof maps.rates>, ifindex: number): number {
  const known = rates.get(ifindex % RATE_SLOTS);
  return known?.ifindex === ifindex ? known.flags : 0;
}

/** Makes it known to the programs that a pod's port is not isolated, for its limited rate, or will not be in a moment. */
export function setLimited(rates: MapOf<typeof maps.rates>): void {
  rates.set(0, { ifindex: 0, flags: RATE_FLAG.EGRESS });
}

/** Makes the limits of a device known to the programs. */
export function setRates(rates: MapOf<typeof maps.rates>, ifindex: number, flags: number): void {
  if (flags & RATE_FLAG.EGRESS) setLimited(rates);
  rates.set(ifindex % RATE_SLOTS, { ifindex, flags });
}
