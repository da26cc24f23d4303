/** Which pods wanted more than their share of what all use (bpf/lib/share.h). */
import type { DataPlaneMaps } from "./dataplane.ts";
import { SHARE_KIND } from "./layout.ts";

/** What is shared. */
type ShareKind = keyof typeof SHARE_KIND;

/** Source of packets that wanted more than its share. */
export interface Excess {
  /** Of a pod of this node; undefined: addresses of elsewhere, all together. */
  address: string | undefined;
  kind: ShareKind;
  /** Flows, datagrams or packets beyond the share, since the data plane was installed. */
  times: bigint;
  /** When it wanted more, of whatever kind, last: nanoseconds of CLOCK_MONOTONIC. */
  last: bigint;
}

/** What the source lost, by kind. */
export const EXCESS: Readonly<Record<ShareKind, string>> = {
  SESSIONS: "flows beyond its share of sessions",
  PORTS: "flows without a free source port in its share",
  FRAGMENTS: "fragments beyond its share of datagrams",
  AFFINITY: "Services beyond its share of session affinity",
  MONITOR: "packets beyond its share of pcnk monitor",
};

const KINDS = Object.keys(SHARE_KIND) as ShareKind[];

/** All there is, by source and kind. A pod's device counts for its address. */
export function readExcess(
  { shares, endpoints }: Pick<DataPlaneMaps, "shares" | "endpoints">,
): Excess[] {
  const entries = shares.entries();
  const devices = entries.some(([{ ifindex }]) => ifindex !== 0)
    ? new Map(endpoints.entries().map(([{ addr }, { ifindex }]) => [ifindex, addr]))
    : new Map<number, string>();
  return entries.flatMap(([{ addr, ifindex }, { last, times }]) => {
    const address = addr === "0.0.0.0" ? devices.get(ifindex) : addr;
    return KINDS.flatMap((kind) => {
      const count = times[SHARE_KIND[kind]]!;
      return count > 0n ? [{ address, kind, times: count, last }] : [];
    });
  });
}
