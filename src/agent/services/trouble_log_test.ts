import assert from "node:assert/strict";
import type { Log } from "../log.ts";
import { TroubleLog } from "./trouble_log.ts";

function recorded() {
  const lines: string[] = [];
  const note = ({ object = "", map = "" }: { object?: string; map?: string }, text: string) =>
    lines.push([map, object, text].filter((part) => part !== "").join(" "));
  const trouble = new TroubleLog({ error: note, info: note, warn: note } as unknown as Log);
  const all = new Set(Array.from({ length: 134_470 }, (_, i) => `a/${i}`));
  const shortages = (list: Parameters<TroubleLog["shortages"]>[0], recomputed = all) =>
    trouble.shortages(list, recomputed);
  return { trouble, report: shortages, take: () => lines.splice(0) };
}
const shortages = (count: number, map = "services") =>
  Array.from({ length: count }, (_, i) => ({ service: `a/${i}`, map, message: "full" }));

Deno.test("TroubleLog names few Services that lack room, and counts many", () => {
  const { trouble, report, take } = recorded();
  report(shortages(2));
  assert.deepEqual(take(), ["services Service a/0 full", "services Service a/1 full"]);
  report(shortages(3));
  assert.deepEqual(take(), ["services Service a/2 full"]);
  report([...shortages(134_469), ...shortages(5000, "backends")]);
  assert.deepEqual(take(), [
    "services 134469 Services lack room, such as a/0: full",
    "backends 5000 Services lack room, such as a/0: full",
  ]);
  assert.equal(trouble.short.size, 134_469);
  report(shortages(134_470));
  assert.deepEqual(take(), []);
  report([], new Set(["b/1"])); // a sync of others
  assert.equal(trouble.short.size, 134_470);
  report([], new Set(["a/134469"]));
  assert.deepEqual(take(), ["Service a/134469 there is room again"]);
  report(shortages(1));
  assert.deepEqual(take(), ["there is room again"]);
  report([]);
  assert.deepEqual(take(), ["Service a/0 there is room again"]);
  report(shortages(4));
  assert.deepEqual(take(), ["services 4 Services lack room, such as a/0: full"]);
});

Deno.test("TroubleLog counts issues of many Services", () => {
  const { trouble, take } = recorded();
  const issues = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      service: `a/${i}`,
      reason: "NoAddress" as const,
      message: "has none",
    }));
  trouble.issues(issues(2));
  assert.deepEqual(take(), ["Service a/0 has none", "Service a/1 has none"]);
  trouble.issues(issues(100_000));
  assert.deepEqual(take(), ["100000 times, such as Service a/0: has none"]);
});
