import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import process from "node:process";
import { ARCHITECTURES, cutElf, elfMachine, findDenort } from "./denort.ts";

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

Deno.test("findDenort() refuses a DENORT_BIN of another architecture, by its name", () => {
  const before = process.env.DENORT_BIN;
  process.env.DENORT_BIN = "/proc/self/exe";
  try {
    const own = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
    const other = own === "arm64" ? "amd64" : "arm64";
    assert.equal(elfMachine(readFileSync("/proc/self/exe")), ARCHITECTURES[own].machine);
    assert.equal(findDenort(own).path, "/proc/self/exe");
    assert.throws(
      () => findDenort(other),
      new RegExp(`DENORT_BIN=/proc/self/exe: not an executable for ${other}`),
    );
  } finally {
    if (before === undefined) delete process.env.DENORT_BIN;
    else process.env.DENORT_BIN = before;
  }
});
