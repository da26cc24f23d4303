/**
 * Allocates runs of neighbouring elements of the `backends` array: first fit, neighbours that are free merge. A freed
 * run rests before it is given out again, because a program may have read the service that pointed to it and not yet the
 * backend.
 */

/** Elements `first` to `first + count - 1`. */
export interface Run {
  first: number;
  count: number;
}

interface Resting extends Run {
  until: number;
}

export class RunAllocator {
  /** In order of `first`, never neighbours of each other. */
  #free: Run[];
  /** In order of `until`. */
  #resting: Resting[] = [];
  /** No free run before this place in `free` is as long as the key; forgotten when something is freed. */
  #hints = new Map<number, number>();

  /**
   * @param capacity elements of the array
   * @param restMs how long a freed run rests, in the milliseconds of the clock that callers give
   */
  constructor(readonly capacity: number, readonly restMs = 1000) {
    this.#free = capacity > 0 ? [{ first: 0, count: capacity }] : [];
  }

  /** Elements that could be given out now, the longest run of them, and those that rest. */
  get room(): { free: number; longest: number; resting: number } {
    const sum = (runs: Run[]) => runs.reduce((total, { count }) => total + count, 0);
    const longest = this.#free.reduce((most, { count }) => Math.max(most, count), 0);
    return { free: sum(this.#free), longest, resting: sum(this.#resting) };
  }

  /** First element of `count` neighbours, or undefined when there is no such run (yet). */
  allocate(count: number, now: number): number | undefined {
    this.#wake(now);
    const start = this.#hints.get(count) ?? 0;
    for (let i = start; i < this.#free.length; i++) {
      const run = this.#free[i]!;
      if (run.count < count) continue;
      const { first } = run;
      if (run.count > count) this.#free[i] = { first: first + count, count: run.count - count };
      else this.#free.splice(i, 1);
      if (run.count > count) this.#hints.set(count, i);
      else this.#hints.clear();
      return first;
    }
    return undefined;
  }

  /**
   * Takes a run that is in use already, e.g. by what a former agent left.
   * @throws RangeError when some of it is not free
   */
  reserve({ first, count }: Run) {
    const i = this.#position(first);
    const run = this.#free[i];
    if (run === undefined || run.first > first || run.first + run.count < first + count) {
      throw new RangeError(`backends ${first} to ${first + count - 1} are not free`);
    }
    const after = { first: first + count, count: run.first + run.count - first - count };
    const before = { first: run.first, count: first - run.first };
    this.#free.splice(i, 1, ...[before, after].filter((part) => part.count > 0));
    this.#hints.clear();
  }

  /** Lets runs rest that rest in `other`, the allocator of the same array before it was read again. */
  adoptResting(other: RunAllocator, now: number) {
    for (const run of other.#resting) {
      if (run.until <= now) continue;
      try {
        this.reserve(run);
        this.#resting.push(run);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error; // in use, contrary to what was known
      }
    }
  }

  /** Gives a run back; it may be allocated again once it has rested. */
  release({ first, count }: Run, now: number) {
    if (count > 0) this.#resting.push({ first, count, until: now + this.restMs });
  }

  /** Ends the rest of runs whose time has come. */
  #wake(now: number) {
    const ready = this.#resting.findIndex(({ until }) => until > now);
    const runs = this.#resting.splice(0, ready < 0 ? this.#resting.length : ready);
    if (runs.length === 0) return;
    this.#hints.clear();
    if (runs.length > 64) this.#mergeMany(runs);
    else for (const run of runs) this.#mergeOne(run);
  }

  #mergeOne({ first, count }: Run) {
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

  #mergeMany(runs: Run[]) {
    const merged: Run[] = [];
    for (const run of [...this.#free, ...runs].sort((a, b) => a.first - b.first)) {
      const last = merged.at(-1);
      if (last !== undefined && last.first + last.count === run.first) last.count += run.count;
      else merged.push({ first: run.first, count: run.count });
    }
    this.#free = merged;
  }

  /** Index of the last free run that starts at or before `first`; 0 when there is none. */
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
