import { deepEqual, ok } from "node:assert/strict";

const folder = new URL(".", import.meta.url);

Deno.test("the Grafana dashboard asks for metrics that the agent has", () => {
  const dashboard = JSON.parse(Deno.readTextFileSync(new URL("grafana-dashboard.json", folder)));
  const source = Deno.readTextFileSync(new URL("../src/agent/http/metrics.ts", folder));
  const known = new Set([...source.matchAll(/"((?:pcnk|process)_\w+)"/g)].map(([, name]) => name));
  const asked = new Set<string>();
  for (const { targets } of dashboard.panels) {
    for (const { expr } of targets) {
      for (const [name] of expr.matchAll(/\b(?:pcnk|process)_\w+/g)) {
        asked.add(name.replace(/_bucket$/, ""));
      }
    }
  }
  ok(asked.size > 8);
  for (const name of ["pcnk_cni_duration_seconds", "pcnk_watch_connected"]) {
    ok(asked.has(name), name);
  }
  deepEqual([...asked].filter((name) => !known.has(name)), []);
});
