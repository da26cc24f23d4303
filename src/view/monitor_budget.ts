/** How many packets a listener gets: as many as it has time for (pure). */

/** Packets that the ring buffer has room for, whatever rate is asked for. */
const ROOM = 8192;

/**
 * How many packets more a listener may get: what it has time for in a second may come at once. The kernel has a
 * number for each CPU, so that twice as many may come for a moment; then it waits until the rate is right again.
 */
export class Budget {
  #tokens: number;
  readonly #most: number;
  #now: number;

  /** @param now any clock's milliseconds */
  constructor(readonly perSecond: number, now: number) {
    this.#now = now;
    this.#tokens = this.#most = Math.min(perSecond, ROOM);
  }

  /** For the kernel: a whole number from 0. */
  get left(): number {
    return Math.max(0, Math.floor(this.#tokens));
  }

  /** Counts packets that were shown; true when the kernel must have the number that is left. */
  spend(count: number, now: number): boolean {
    const full = this.#tokens === this.#most;
    const more = this.perSecond * (now - this.#now) / 1000;
    this.#now = now;
    this.#tokens = Math.min(this.#most, this.#tokens - count + more);
    return count > 0 || !full;
  }
}
