import assert from "node:assert/strict";
import { Budget } from "./monitor_budget.ts";

Deno.test("Budget lets a second's packets come at once, and no more for a second", () => {
  const budget = new Budget(1000, 0);
  assert.equal(budget.left, 1000);
  assert.equal(budget.spend(1000, 0), true);
  assert.equal(budget.left, 0);
  budget.spend(0, 20);
  assert.equal(budget.left, 20);
});

Deno.test("Budget holds the rate over time though each of two CPUs spends all of it", () => {
  const budget = new Budget(1000, 0);
  let told = 0;
  for (let now = 20; now <= 10_000; now += 20) {
    const count = 2 * budget.left;
    told += count;
    budget.spend(count, now);
  }
  assert.ok(told >= 10_000 && told <= 12_100, `${told} in ten seconds`);
});

Deno.test("Budget has nothing new to say while nothing is spent", () => {
  const budget = new Budget(10, 0);
  assert.equal(budget.spend(0, 1000), false);
  assert.equal(budget.left, 10);
  assert.equal(budget.spend(1, 1000), true);
  assert.equal(budget.spend(0, 2000), true, "full again: written to the kernel once");
  assert.equal(budget.spend(0, 3000), false);
});

Deno.test("Budget never asks for more than the ring buffer holds", () => {
  assert.equal(new Budget(1_000_000, 0).left, 8192);
});
