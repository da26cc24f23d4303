import assert from "node:assert/strict";
import { maps } from "./layout.ts";
import { reasonTables } from "../../tests/support/reasons_page.ts";
import { reasonIndex, reasons } from "./reasons.ts";

Deno.test("reasons has each name once, with its kind in front", () => {
  assert.equal(new Set(reasons.map(({ name }) => name)).size, reasons.length);
  for (const { name, kind } of reasons) {
    if (kind === "pass" || kind === "drop" || kind === "event") assert(name.startsWith(`${kind}_`));
  }
});

Deno.test("reasonIndex() finds a reason's place in the counters map", () => {
  assert.equal(reasonIndex("pass_truncated"), 1);
  assert(reasons.length <= 256, `${maps.counters.name} has 256 elements`);
});

Deno.test("docs/reasons.md has every reason with its meaning", () => {
  const page = Deno.readTextFileSync(new URL("../../docs/reasons.md", import.meta.url));
  assert.ok(page.endsWith(reasonTables()), `its tables are to be:\n${reasonTables()}`);
});
