import { deepEqual, equal } from "node:assert/strict";
import { Repairs } from "./repairs.ts";

Deno.test("Repairs slows down on an object that breaks again and again, and calms when it stays well", () => {
  let now = 0;
  const repairs = new Repairs(() => now);
  for (let i = 0; i < 5; i++, now += 1000) {
    equal(repairs.mayMend("a"), true);
    repairs.mended("a");
  }
  equal(repairs.mayMend("a"), false);
  equal(repairs.mayMend("b"), true);
  deepEqual(repairs.contested(), [["a", 5]]);
  now += 9000;
  equal(repairs.mayMend("a"), true);
  now += 60_000;
  deepEqual(repairs.contested(), []);
});

Deno.test("Repairs tries again after two seconds what could not be mended, without a word of others", () => {
  let now = 0;
  const repairs = new Repairs(() => now);
  for (let i = 0; i < 9; i++, now += 2000) {
    equal(repairs.mayMend("a"), true);
    repairs.failed("a", "no space");
    equal(repairs.mayMend("a"), false);
    equal(repairs.failure("a"), "no space");
  }
  deepEqual(repairs.contested(), []);
});

Deno.test("Repairs tries at once again what may stand on an object that was mended", () => {
  const repairs = new Repairs(() => 0);
  repairs.failed("program", "no pin");
  repairs.mended("pins");
  equal(repairs.mayMend("program"), true);
  equal(repairs.failure("program"), undefined);
});
