import assert from "node:assert/strict";
import "../../tests/support/libraries.ts";
import { readSysctl } from "./sysctl.ts";

Deno.test("readSysctl() reads with dots and with slashes", () => {
  assert.match(readSysctl("kernel.ostype"), /^Linux$/);
  assert.equal(readSysctl("kernel/ostype"), "Linux");
});

Deno.test("readSysctl() stays below /proc/sys", () => {
  for (const name of ["../version", "kernel/../../version", "", "/etc/passwd", "kernel..ostype"]) {
    assert.throws(() => readSysctl(name), TypeError, name);
  }
});
