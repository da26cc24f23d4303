import assert from "node:assert/strict";
import { trimMemory } from "./malloc.ts";

Deno.test({
  name: "trimMemory() works where libc is glibc, also twice",
  sanitizeResources: false, // the library stays open, as in libc.ts
  fn() {
    assert.deepEqual([trimMemory(), trimMemory()], [true, true]);
  },
});
