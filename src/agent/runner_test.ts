import assert from "node:assert/strict";
import { type Clock, Runner } from "./runner.ts";

/** A clock that is moved by hand. */
class FakeClock implements Clock {
  time = 0;
  #timers: { at: number; run: () => void }[] = [];

  now = () => this.time;
  setTimeout = (run: () => void, ms: number) => {
    const timer = { at: this.time + ms, run };
    this.#timers.push(timer);
    return timer;
  };
  clearTimeout = (timer: unknown) => {
    this.#timers = this.#timers.filter((one) => one !== timer);
  };

  /** Goes on by `ms`, running what falls due. */
  pass(ms: number) {
    const end = this.time + ms;
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.clearTimeout(due);
      this.time = Math.max(this.time, due.at);
      due.run();
    }
    this.time = end;
  }
}

/** A runner that logs `time kind`; `work` may take time or throw. */
function setUp(work: (full: boolean, clock: FakeClock) => void = () => {}) {
  const clock = new FakeClock();
  const log: string[] = [];
  const runner = new Runner({
    run: (full) => {
      log.push(`${clock.time} ${full ? "full" : "changes"}`);
      work(full, clock);
    },
    failed: (error, retryMs) => log.push(`${clock.time} ${(error as Error).message}, ${retryMs}`),
    minMs: 20,
    fullMs: 1000,
    clock,
  });
  return { clock, log, runner };
}

Deno.test("Runner runs at once, then not before minMs, then once for many requests", () => {
  const { clock, log, runner } = setUp();
  runner.request();
  for (let i = 0; i < 5; i++) {
    clock.pass(2);
    runner.request();
  }
  clock.pass(500);
  runner.request();
  assert.deepEqual(log, ["0 full", "20 changes", "510 changes"]);
});

Deno.test("Runner makes a full run from time to time", () => {
  const { clock, log, runner } = setUp();
  runner.request();
  clock.pass(2500);
  assert.deepEqual(log, ["0 full", "1000 full", "2000 full"]);
});

Deno.test("Runner leaves as much time between runs as a run takes", () => {
  const { clock, log, runner } = setUp((_, clock) => clock.time += 300);
  runner.request();
  runner.request();
  clock.pass(700);
  assert.deepEqual(log, ["0 full", "600 changes"]);
});

Deno.test("Runner repeats a run that failed, fully, less and less often", () => {
  let healthy = false;
  const { clock, log, runner } = setUp(() => {
    if (!healthy) throw new Error("no");
  });
  runner.request();
  clock.pass(600);
  runner.request(); // does not cut the wait short
  clock.pass(500);
  healthy = true;
  clock.pass(1000);
  runner.request();
  assert.deepEqual(log, [
    "0 full",
    "0 no, 500",
    "500 full",
    "500 no, 1000",
    "1500 full",
    "2100 changes",
  ]);
});

Deno.test("Runner.requestIn() keeps the earlier of two times", () => {
  const { clock, log, runner } = setUp();
  runner.request();
  runner.requestIn(500);
  runner.requestIn(100);
  clock.pass(400);
  assert.deepEqual(log, ["0 full", "100 changes"]);
});

Deno.test("Runner does nothing after stop()", () => {
  const { clock, log, runner } = setUp();
  runner.request();
  runner.requestIn(10);
  runner.stop();
  clock.pass(5000);
  runner.request();
  assert.deepEqual(log, ["0 full"]);
});

Deno.test("Runner interrupts work that yields, and starts no other run meanwhile", async () => {
  const clock = new FakeClock(), log: string[] = [];
  const runner = new Runner({
    *run(full) {
      log.push(`${clock.time} ${full ? "full" : "changes"}`);
      for (let i = 0; i < 5; i++) {
        clock.time += 15;
        yield;
      }
      log.push(`${clock.time} done`);
    },
    failed: assert.fail,
    minMs: 20,
    fullMs: 1000,
    clock,
  });
  runner.request();
  assert.equal(clock.time, 30, "a slice");
  runner.request();
  const idle = runner.idle();
  clock.pass(400);
  await idle;
  assert.deepEqual(log, ["0 full", "75 done", "150 changes", "225 done"]);
});
