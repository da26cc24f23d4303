import assert from "node:assert/strict";
import { tcxSupported } from "./attach.ts";

Deno.test("tcxSupported() reads the kernel's release", () => {
  for (const release of ["6.6.0", "6.12.3-amd64", "7.0.0-rc1", "6.18.44-x"]) {
    assert.equal(tcxSupported(release), true, release);
  }
  for (const release of ["6.5.13", "6.1.0-18-amd64", "5.10.0", "5.15"]) {
    assert.equal(tcxSupported(release), false, release);
  }
});
