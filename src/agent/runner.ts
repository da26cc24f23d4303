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
  /**
   * The work. `full`: everything, not only what changed. Work that may be long yields where it may be interrupted; then other
   * things have their turn, but no other run.
   */
  run(full: boolean): Iterator<void, void> | void;
  /** Called after a run that threw, with the milliseconds until the next one. */
  failed(error: unknown, retryMs: number): void;
  /** Milliseconds from the end of one run to the start of the next, at least; and at least as long as a run took. */
  minMs: number;
  /** Milliseconds between full runs. */
  fullMs: number;
  clock?: Clock;
}

/** Milliseconds of work between two turns of others. */
const sliceMs = 20;
const firstRetryMs = 500;
const longestRetryMs = 60_000;

export class Runner {
  readonly #clock: Clock;
  #timer: unknown;
  #timerAt = Infinity;
  #sliceTimer: unknown;
  #notBefore = -Infinity;
  #fullAt = -Infinity;
  #retryMs = firstRetryMs;
  #running = false;
  /** A time that was asked for came during a run. */
  #missed = false;
  #stopped = false;
  #waiting: (() => void)[] = [];
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

  /** Resolves when no run is under way, or after `stop()`. */
  async idle() {
    if (this.#running && !this.#stopped) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  stop() {
    this.#stopped = true;
    this.#clock.clearTimeout(this.#timer);
    this.#clock.clearTimeout(this.#sliceTimer);
    this.#wake();
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #schedule(at: number) {
    if (this.#stopped || at >= this.#timerAt) return;
    this.#clock.clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#clock.setTimeout(() => this.#expire(), Math.max(0, at - this.#clock.now()));
  }

  #expire() {
    this.#timerAt = Infinity;
    if (this.#running) this.#missed = true;
    // Timers may come a little early.
    else if (this.#clock.now() + 1 < this.#notBefore) this.#schedule(this.#notBefore);
    else this.#run();
  }

  #run() {
    if (this.#stopped) return;
    const start = this.#clock.now();
    const full = start + 1 >= this.#fullAt;
    this.#running = true;
    try {
      const work = this.#options.run(full);
      if (work) this.#slice(work, start, full);
      else this.#succeed(start, full);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Works for a while, and goes on after other things have had their turn. */
  #slice(work: Iterator<void, void>, start: number, full: boolean) {
    const until = this.#clock.now() + sliceMs;
    try {
      while (!work.next().done) {
        if (this.#clock.now() < until) continue;
        this.#sliceTimer = this.#clock.setTimeout(() => this.#slice(work, start, full), 0);
        return;
      }
    } catch (error) {
      return this.#fail(error);
    }
    this.#succeed(start, full);
  }

  #succeed(start: number, full: boolean) {
    const { fullMs, minMs } = this.#options;
    const now = this.#clock.now();
    this.#retryMs = firstRetryMs;
    if (full) this.#fullAt = now + fullMs;
    this.#notBefore = now + Math.max(minMs, now - start);
    this.#finish();
  }

  #fail(error: unknown) {
    this.#fullAt = -Infinity;
    this.#notBefore = this.#clock.now() + this.#retryMs;
    this.#options.failed(error, this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, longestRetryMs);
    this.#finish();
  }

  #finish() {
    this.#running = false;
    this.#schedule(this.#missed ? this.#notBefore : Math.max(this.#fullAt, this.#notBefore));
    this.#missed = false;
    this.#wake();
  }
}
