/** Prefixes with an owner each, none overlapping another. */
import type { AddressValue } from "../net/address.ts";
import type { Prefix } from "../net/prefix.ts";

/** A prefix and whose it is. */
interface Owned<T> {
  prefix: Prefix;
  owner: T;
}

/** Adding is O(n) in the worst case, asking O(log n). All prefixes must be of one family. */
export class PrefixMap<T> {
  /** In order; as none overlap, in order of first and of last addresses. */
  readonly #owned: Owned<T>[] = [];

  /** Adds a prefix; when it overlaps one that is there, returns that one and adds nothing. */
  add(prefix: Prefix, owner: T): Owned<T> | undefined {
    const at = firstAtLeast(this.#owned, prefix.first, (one) => one.prefix.last);
    const next = this.#owned[at];
    if (next !== undefined && next.prefix.overlaps(prefix)) return next;
    this.#owned.splice(at, 0, { prefix, owner });
    return undefined;
  }
}

/** Index of the first element whose key is at least `bound`, in a list sorted by key. */
export function firstAtLeast<T>(
  list: readonly T[],
  bound: AddressValue,
  key: (item: T) => AddressValue,
): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (key(list[middle]!) < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
