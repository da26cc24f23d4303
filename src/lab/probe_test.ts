import assert from "node:assert/strict";
import { root } from "../../tests/support/needs.ts";
import { type Probe, runProbe } from "./probe.ts";
import { serve } from "./serve.ts";

// Symbols of libc are opened at their first use and stay open; that is no leak of a test.
const sanitizeResources = false;

const base: Probe = { kind: "tcp", address: "127.0.0.1", port: 0, connections: 2, timeoutMs: 1000 };

Deno.test(
  "runProbe() tells who answered over TCP and UDP, and how fast",
  { sanitizeResources },
  async () => {
    const server = await serve("pod1-1", 0);
    try {
      for (const kind of ["tcp", "udp"] as const) {
        const result = await runProbe({ ...base, kind, port: server.port });
        assert.equal(result.error, undefined);
        assert.deepEqual(result.answers, [{ name: "pod1-1" }, { name: "pod1-1" }]);
        assert.ok(result.ms! > 0 && result.ms! < 1000);
      }
    } finally {
      await server.close();
    }
  },
);

Deno.test("runProbe() sees a reset and a port unreachable as ECONNREFUSED, at once", async () => {
  const server = await serve("gone", 0);
  await server.close();
  for (const kind of ["tcp", "udp"] as const) {
    const { error, ms } = await runProbe({ ...base, kind, port: server.port });
    assert.equal(error?.code, "ECONNREFUSED");
    assert.ok(error!.afterMs < 500);
    assert.equal(ms, undefined);
  }
});

Deno.test("runProbe() gives up after its timeout", { sanitizeResources }, async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const silent = { ...base, port: listener.addr.port, timeoutMs: 50 };
  const { error } = await runProbe(silent);
  listener.close();
  assert.equal(error?.code, "TIMEOUT");
  assert.ok(error!.afterMs >= 49);
});

Deno.test("runProbe() does not take any answer for a pod's", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const stranger = (async () => {
    using connection = await listener.accept();
    await connection.write(new TextEncoder().encode("SSH-2.0\n"));
    await connection.read(new Uint8Array(100));
  })();
  const { error } = await runProbe({ ...base, port: listener.addr.port, connections: 1 });
  await stranger;
  listener.close();
  assert.equal(error?.code, "BAD_ANSWER");
  assert.match(error!.text, /SSH-2\.0/);
});

Deno.test({
  name: "runProbe() pings",
  ignore: !root(),
  fn: async () => {
    const result = await runProbe({ ...base, kind: "ping" });
    assert.equal(result.error, undefined);
    assert.ok(result.ms! < 1000);
  },
});
