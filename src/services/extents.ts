/**
 * Allocates extents of neighbouring elements of the `backends` array: first fit, neighbours that are free merge. A freed
 * extent is quarantined before it is allocated again, because a program may have read the service that pointed to it and
 * not yet the backend.
 */

/** Elements `first` to `first + count - 1`. */
export interface Extent {
  first: number;
  count: number;
}

interface Quarantined extends Extent {
  until: number;
}

export class ExtentAllocator {
  /** In order of `first`, never neighbours of each other. */
  #free: Extent[];
  /** In order of `until`. */
  #quarantined: Quarantined[] = [];
  /** No free extent before this index of `free` is as long as the key; cleared when an extent is freed. */
  #hints = new Map<number, number>();

  /**
   * @param capacity elements of the array
   * @param quarantineMs how long a freed extent is quarantined, by the clock whose milliseconds callers pass as `now`
   */
  constructor(readonly capacity: number, readonly quarantineMs = 1000) {
    this.#free = capacity > 0 ? [{ first: 0, count: capacity }] : [];
  }

  /** Elements: free ones, those of the longest free extent, and quarantined ones. */
  get room(): { free: number; longest: number; quarantined: number } {
    const sum = (extents: Extent[]) => extents.reduce((total, { count }) => total + count, 0);
    const longest = this.#free.reduce((most, { count }) => Math.max(most, count), 0);
    return { free: sum(this.#free), longest, quarantined: sum(this.#quarantined) };
  }

  /** First element of `count` neighbours, or undefined when there is no such extent (yet). */
  allocate(count: number, now: number): number | undefined {
    this.#expire(now);
    const start = this.#hints.get(count) ?? 0;
    for (let i = start; i < this.#free.length; i++) {
      const extent = this.#free[i]!;
      if (extent.count < count) continue;
      const { first } = extent;
      if (extent.count > count) {
        this.#free[i] = { first: first + count, count: extent.count - count };
      } else this.#free.splice(i, 1);
      if (extent.count > count) this.#hints.set(count, i);
      else this.#hints.clear();
      return first;
    }
    return undefined;
  }

  /**
   * Takes an extent that is in use already, e.g. by what a former agent left.
   * @throws RangeError when some of it is not free
   */
  reserve({ first, count }: Extent) {
    const i = this.#position(first);
    const extent = this.#free[i];
    if (
      extent === undefined || extent.first > first || extent.first + extent.count < first + count
    ) {
      throw new RangeError(`backends ${first} to ${first + count - 1} are not free`);
    }
    const after = { first: first + count, count: extent.first + extent.count - first - count };
    const before = { first: extent.first, count: first - extent.first };
    this.#free.splice(i, 1, ...[before, after].filter((part) => part.count > 0));
    this.#hints.clear();
  }

  /** Goes on with the quarantines of `other`, the allocator of the same array before it was read again. */
  adoptQuarantined(other: ExtentAllocator, now: number) {
    for (const extent of other.#quarantined) {
      if (extent.until <= now) continue;
      try {
        this.reserve(extent);
        this.#quarantined.push(extent);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error; // in use, contrary to what was known
      }
    }
  }

  /** Frees an extent; it may be allocated again after its quarantine. */
  release({ first, count }: Extent, now: number) {
    if (count > 0) this.#quarantined.push({ first, count, until: now + this.quarantineMs });
  }

  /** Frees the extents whose quarantine has expired. */
  #expire(now: number) {
    const ready = this.#quarantined.findIndex(({ until }) => until > now);
    const extents = this.#quarantined.splice(0, ready < 0 ? this.#quarantined.length : ready);
    if (extents.length === 0) return;
    this.#hints.clear();
    if (extents.length > 64) this.#mergeMany(extents);
    else for (const extent of extents) this.#mergeOne(extent);
  }

  #mergeOne({ first, count }: Extent) {
    const i = this.#position(first);
    const [before, after] = [this.#free[i], this.#free[i + 1]];
    const joinsBefore = before !== undefined && before.first + before.count === first;
    const next = before === undefined || before.first > first ? before : after;
    const joinsAfter = next !== undefined && first + count === next.first;
    const at = before === undefined || before.first > first ? i : i + 1;
    const merged = {
      first: joinsBefore ? before.first : first,
      count: (joinsBefore ? before.count : 0) + count + (joinsAfter ? next.count : 0),
    };
    const from = joinsBefore ? i : at;
    this.#free.splice(from, Number(joinsBefore) + Number(joinsAfter), merged);
  }

  #mergeMany(extents: Extent[]) {
    const merged: Extent[] = [];
    for (const extent of [...this.#free, ...extents].sort((a, b) => a.first - b.first)) {
      const last = merged.at(-1);
      if (last !== undefined && last.first + last.count === extent.first) {
        last.count += extent.count;
      } else merged.push({ first: extent.first, count: extent.count });
    }
    this.#free = merged;
  }

  /** Index of the last free extent that starts at or before `first`; 0 when there is none. */
  #position(first: number): number {
    let low = 0, high = this.#free.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#free[middle]!.first <= first) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
