/**
 * How often each object was mended lately. Another program that breaks one again and again is reported and not fought at
 * full speed.
 */

/** So many times within `windowMs` make an object contested; it is then mended every `slowMs`. */
const limits = { times: 5, windowMs: 60_000, slowMs: 10_000 };

/** Milliseconds until a repair that failed is tried again. */
const againMs = 2000;

export class Repairs {
  readonly #times = new Map<string, number[]>();
  readonly #failed = new Map<string, { at: number; why: string }>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether the object may be mended now. */
  mayMend(object: string): boolean {
    if (this.#now() - (this.#failed.get(object)?.at ?? -Infinity) < againMs) return false;
    const times = this.#recent(object);
    return times.length < limits.times || this.#now() - times.at(-1)! >= limits.slowMs;
  }

  /** Notes that a repair failed, which does not make the object contested. */
  failed(object: string, why: string): void {
    this.#failed.set(object, { at: this.#now(), why });
  }

  /** Why the last repair of the object failed; undefined: it did not. */
  failure(object: string): string | undefined {
    return this.#failed.get(object)?.why;
  }

  /** Notes that it was mended. What failed meanwhile may be tried again at once: it may stand on this object. */
  mended(object: string): void {
    this.#failed.clear();
    this.#times.set(object, [...this.#recent(object), this.#now()]);
  }

  /** Objects that were mended too often, and how often within a minute. */
  contested(): [object: string, times: number][] {
    return [...this.#times.keys()].map((object): [string, number] => [
      object,
      this.#recent(object).length,
    ]).filter(([, times]) => times >= limits.times);
  }

  #recent(object: string): number[] {
    const since = this.#now() - limits.windowMs;
    const times = (this.#times.get(object) ?? []).filter((at) => at > since);
    if (times.length === 0) this.#times.delete(object);
    else this.#times.set(object, times);
    return times;
  }
}
