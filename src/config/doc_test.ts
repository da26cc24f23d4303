import { equal } from "node:assert/strict";
import { settingsPage, settingsPath } from "./doc.ts";
import { settings } from "./schema.ts";

Deno.test("docs/settings.md is what the tables of settings say", () => {
  const page = Deno.readTextFileSync(settingsPath);
  equal(page, settingsPage(), "run: deno run -A src/config/doc.ts");
});

Deno.test("settingsPage() has every setting", () => {
  const page = settingsPage();
  for (const { key } of settings) equal(page.includes(`| \`${key}\` |`), true, key);
});
