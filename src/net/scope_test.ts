import { ok } from "node:assert/strict";
import { isLinkLocal, isLoopback, isUnicast } from "./scope.ts";

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

Deno.test("isLoopback() knows both families' and IPv4-mapped ones", () => {
  for (const text of ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"]) {
    ok(isLoopback(text), text);
  }
  for (const text of ["128.0.0.1", "127.0.0.1.example.org", "::", "::ffff:10.0.0.1", "::1271"]) {
    ok(!isLoopback(text), text);
  }
});
