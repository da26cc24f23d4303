import assert from "node:assert/strict";
import { routingAnnotations } from "./annotations.ts";

Deno.test("routingAnnotations() reads what is there and ignores what is not understood", () => {
  assert.deepEqual(routingAnnotations({}), {});
  assert.deepEqual(
    routingAnnotations({ "pcnk.io/direct-routing": "true", "pcnk.io/public-ip": "203.0.113.7" }),
    { publicIP: "203.0.113.7", directRouting: true },
  );
  assert.deepEqual(routingAnnotations({ "pcnk.io/direct-routing": "false" }), {
    directRouting: false,
  });
  for (const value of ["yes", "", 1, null, { true: true }]) {
    assert.deepEqual(routingAnnotations({ "pcnk.io/direct-routing": value }), {}, String(value));
  }
  assert.deepEqual(routingAnnotations({ "pcnk.io/public-ip": 7 }), {});
});
