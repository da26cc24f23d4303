/** Why a packet ended as it did: enum reason of bpf/lib/reasons.h. A reason's place in the list is its index in `counters`. */
import { REASONS } from "../abi/enums.ts";

/** What became of the packets that a reason counts. Events are counted besides the packet's own reason. */
export type ReasonKind = "none" | "pass" | "handled" | "drop" | "event";

/** Name of a reason: that of C in lower case, which is also how metrics show it. */
export type Reason = typeof REASONS[number]["name"];

/** A reason as people see it. */
export interface ReasonInfo {
  readonly name: Reason;
  readonly kind: ReasonKind;
  /** One line. */
  readonly help: string;
}

const KINDS: Readonly<Record<string, ReasonKind>> = {
  reason: "none",
  pass: "pass",
  drop: "drop",
  event: "event",
};

/** Every reason, in the order of the C enum. */
export const reasons: readonly ReasonInfo[] = REASONS.map(({ name, help }) => {
  return { name, kind: KINDS[name.slice(0, name.indexOf("_"))] ?? "handled", help };
});

/** Index of a reason in the `counters` map. */
export function reasonIndex(name: Reason): number {
  return REASONS.findIndex((reason) => reason.name === name);
}
