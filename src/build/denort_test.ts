import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { cutElf } from "./denort.ts";

Deno.test("cutElf() ends an ELF file with its section headers", () => {
  const whole = readFileSync("/proc/self/exe");
  const longer = new Uint8Array(whole.length + 100);
  longer.set(whole);
  assert.ok(cutElf(longer).length <= whole.length);
  assert.equal(cutElf(whole).length, cutElf(longer).length);
});

Deno.test("cutElf() refuses what is not an ELF file", () => {
  assert.throws(
    () => cutElf(new TextEncoder().encode("#!/bin/sh\n".repeat(10))),
    /not an ELF file/,
  );
});
