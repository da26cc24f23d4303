import { ok } from "node:assert/strict";
import { isLinkLocal, isUnicast } from "./scope.ts";

Deno.test("isUnicast() knows what a host may have", () => {
  for (const text of ["1.0.0.1", "10.0.0.0", "223.255.255.255", "fd00::1", "2001:db8::", "::2"]) {
    ok(isUnicast(text), text);
  }
  for (
    const text of ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"]
  ) {
    ok(!isUnicast(text), text);
  }
});

Deno.test("isLinkLocal() knows both blocks", () => {
  for (const text of ["169.254.0.1", "fe80::1", "febf::1"]) ok(isLinkLocal(text), text);
  for (const text of ["169.253.0.1", "10.0.0.1", "fec0::1", "fd00::1"]) {
    ok(!isLinkLocal(text), text);
  }
});
