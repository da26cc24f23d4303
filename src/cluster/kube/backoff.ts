/** Waiting longer after each failure, each client at a time of its own. */

export interface BackoffOptions {
  firstMs?: number;
  longestMs?: number;
  /** 0 to 1; for tests. */
  random?: () => number;
}

export class Backoff {
  readonly #firstMs: number;
  readonly #longestMs: number;
  readonly #random: () => number;
  #failures = 0;

  constructor({ firstMs = 250, longestMs = 10_000, random = Math.random }: BackoffOptions = {}) {
    this.#firstMs = firstMs;
    this.#longestMs = longestMs;
    this.#random = random;
  }

  /** It worked: the next failure is the first one again. */
  reset() {
    this.#failures = 0;
  }

  /** Milliseconds to wait now: doubled with each failure, and between half of that and all of it. */
  next(): number {
    const ms = Math.min(this.#longestMs, this.#firstMs * 2 ** Math.min(this.#failures++, 30));
    return ms * (0.5 + this.#random() / 2);
  }
}

/** Milliseconds since `at`, a time of performance.now(); undefined when there was none. */
export function msSince(at: number | undefined): number | undefined {
  return at === undefined ? undefined : performance.now() - at;
}

/** Resolves after so many milliseconds, or as soon as `signal` is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      done();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
