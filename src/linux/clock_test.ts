import { ok } from "node:assert/strict";
import "../../tests/support/libraries.ts";
import { monotonicNow } from "./clock.ts";

Deno.test("monotonicNow() goes on, and not ahead of the time since the machine started", () => {
  const [first, second] = [monotonicNow(), monotonicNow()];
  ok(second >= first && second - first < 1_000_000_000n, `${first}, ${second}`);
  const uptime = Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]); // counts sleep too
  ok(Number(first) / 1e9 <= uptime + 1, `${first} ns, up for ${uptime} s`);
});
