import assert from "node:assert/strict";
import { agentChecks, type CheckedParts } from "./checks.ts";
import { type Check, healthResponse, HealthServer } from "./health.ts";
import { createLog } from "../log.ts";

const ask = async (path: string, checks: readonly Check[], method = "GET") => {
  const answer = healthResponse(new Request(`http://127.0.0.1:1${path}`, { method }), checks);
  return { status: answer.status, text: await answer.text() };
};
const bad: Check[] = [{ name: "maps", ready: true }, { name: "source", failure: "is away" }];

Deno.test("healthResponse() tells at /healthz what is wrong", async () => {
  assert.deepEqual(await ask("/healthz", bad), {
    status: 503,
    text: "[+]maps ok\n[-]source failed: is away\nhealthz failed\n",
  });
  assert.deepEqual(await ask("/healthz", bad.slice(0, 1)), {
    status: 200,
    text: "[+]maps ok\nok\n",
  });
});

Deno.test("healthResponse() is ready and alive without an API server", async () => {
  assert.equal((await ask("/readyz", bad)).status, 200);
  assert.equal((await ask("/livez", bad)).text, "ok\n");
  assert.equal((await ask("/readyz", [{ name: "maps", ready: true, failure: "no" }])).status, 503);
});

Deno.test("healthResponse() has no other paths and methods", async () => {
  assert.equal((await ask("/", bad)).status, 404);
  assert.equal((await ask("/toString", bad)).status, 404);
  assert.equal((await ask("/livez", bad, "POST")).status, 405);
});

Deno.test("agentChecks() names a source that is away for longer than a restart takes", () => {
  const parts = (sinceMs: number): CheckedParts => ({
    reconciler: { healthy: true },
    network: { failing: undefined, podMtu: 1450 },
    source: { trouble: { reason: "https://x is away", sinceMs } },
    podReadiness: { failure: undefined },
    upkeep: { faults: [] },
    nodeSettings: { failing: undefined },
    vpc: { failing: undefined },
  });
  const failures = (sinceMs: number) =>
    agentChecks(parts(sinceMs)).flatMap(({ failure }) => failure === undefined ? [] : [failure]);
  assert.deepEqual(failures(9000), []);
  assert.deepEqual(failures(12_000), ["for 12 s: https://x is away"]);
});

Deno.test("HealthServer tries an address again that is taken", async () => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const timers: (() => void)[] = [];
  const server = new HealthServer({
    address: `127.0.0.1:${taken.addr.port}`,
    checks: () => [],
    log: createLog("silent", "node1"),
    clock: { now: () => 0, setTimeout: (run) => timers.push(run), clearTimeout: () => {} },
  });
  server.start();
  assert.equal(server.port, undefined);
  taken.close();
  timers[0]!();
  const answer = await fetch(`http://127.0.0.1:${server.port}/livez`);
  assert.equal(await answer.text(), "ok\n");
  await server.stop();
});
