/**
 * Runs one piece of work when it is asked for, but not too often, and from time to time without being asked (after
 * kube-proxy's BoundedFrequencyRunner). A run that fails is repeated, less and less often.
 */

/** What the runner knows of time; tests bring their own. */
export interface Clock {
  /** Milliseconds; does not go back. */
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as number),
};

interface RunnerOptions {
  /** The work. `full`: everything, not only what changed. */
  run(full: boolean): void;
  /** Called after a run that threw, with the milliseconds until the next one. */
  failed(error: unknown, retryMs: number): void;
  /** Milliseconds from the end of one run to the start of the next, at least; and at least as long as a run took. */
  minMs: number;
  /** Milliseconds between full runs. */
  fullMs: number;
  clock?: Clock;
}

const firstRetryMs = 500;
const longestRetryMs = 60_000;

export class Runner {
  readonly #clock: Clock;
  #timer: unknown;
  #timerAt = Infinity;
  #notBefore = -Infinity;
  #fullAt = -Infinity;
  #retryMs = firstRetryMs;
  #running = false;
  #stopped = false;
  readonly #options: RunnerOptions;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Asks for a run: at once if the last one is long enough ago. */
  request() {
    if (this.#running) this.#schedule(this.#clock.now());
    else if (this.#clock.now() >= this.#notBefore) this.#run();
    else this.#schedule(this.#notBefore);
  }

  /** Asks for a full run, as `request()`. */
  requestFull() {
    this.#fullAt = -Infinity;
    this.request();
  }

  /** Asks for a run in so many milliseconds. */
  requestIn(ms: number) {
    this.#schedule(this.#clock.now() + ms);
  }

  stop() {
    this.#stopped = true;
    this.#clock.clearTimeout(this.#timer);
  }

  #schedule(at: number) {
    if (this.#stopped || at >= this.#timerAt) return;
    this.#clock.clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#clock.setTimeout(() => this.#expire(), Math.max(0, at - this.#clock.now()));
  }

  #expire() {
    this.#timerAt = Infinity;
    // Timers may come a little early.
    if (this.#clock.now() + 1 < this.#notBefore) this.#schedule(this.#notBefore);
    else this.#run();
  }

  #run() {
    if (this.#stopped) return;
    const clock = this.#clock, options = this.#options;
    const start = clock.now();
    const full = start + 1 >= this.#fullAt;
    this.#running = true;
    try {
      options.run(full);
      this.#retryMs = firstRetryMs;
      if (full) this.#fullAt = clock.now() + options.fullMs;
      this.#notBefore = clock.now() + Math.max(options.minMs, clock.now() - start);
    } catch (error) {
      this.#fullAt = -Infinity;
      this.#notBefore = clock.now() + this.#retryMs;
      options.failed(error, this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, longestRetryMs);
    } finally {
      this.#running = false;
    }
    this.#schedule(Math.max(this.#fullAt, this.#notBefore));
  }
}
