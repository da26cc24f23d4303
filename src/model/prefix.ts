/** IPv4 prefixes as ranges of numbers, and sets of ranges that do not meet. */
import { formatIpv4, parseIpv4 } from "./ipv4.ts";

/** The addresses of a prefix, first to last, in host order. */
export interface Prefix {
  first: number;
  last: number;
  /** 0 to 32. */
  length: number;
}

/**
 * Reads `10.244.1.0/24`; undefined when it is none. Bits beyond the length are cleared: the kernel refuses a route
 * that has them (EINVAL), and Kubernetes' validation has not always.
 */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const address = parseIpv4(text.slice(0, slash));
  const bits = text.slice(slash + 1);
  if (slash < 0 || address === undefined || !/^(\d|[12]\d|3[0-2])$/.test(bits)) return undefined;
  return prefixOf(address, Number(bits));
}

/** The prefix of `length` bits that holds an address. */
export function prefixOf(address: number, length: number): Prefix {
  const size = 2 ** (32 - length);
  const first = address - address % size;
  return { first, last: first + size - 1, length };
}

/** `10.244.1.0/24` */
export function formatPrefix({ first, length }: Prefix): string {
  return `${formatIpv4(first)}/${length}`;
}

/** Whether a prefix holds an address. */
export function holds({ first, last }: Prefix, address: number): boolean {
  return first <= address && address <= last;
}

/** An address that a host can have: not 0/8, loopback, multicast, reserved or broadcast. */
export function isUnicast(address: number): boolean {
  const top = address >>> 24;
  return top !== 0 && top !== 127 && top < 224;
}

/** Ranges with an owner each, none meeting another. Adding is O(n) in the worst case, asking O(log n). */
export class RangeSet<T> {
  readonly #ranges: (Prefix & { owner: T })[] = [];

  /** Adds a range; when it meets one that is there, returns that one's and adds nothing. */
  add(range: Prefix, owner: T): { range: Prefix; owner: T } | undefined {
    const at = firstAtLeast(this.#ranges, range.first, (other) => other.last);
    const met = this.#ranges[at];
    if (met !== undefined && met.first <= range.last) return { range: met, owner: met.owner };
    this.#ranges.splice(at, 0, { ...range, owner });
    return undefined;
  }
}

/** Index of the first element whose key is at least `bound`, in a list sorted by key. */
export function firstAtLeast<T>(list: readonly T[], bound: number, key: (item: T) => number) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (key(list[middle]!) < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
