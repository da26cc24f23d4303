import assert from "node:assert/strict";
import { formatIpv4, looksLikeIpv6, parseIpv4 } from "./ipv4.ts";

Deno.test("parseIpv4() and formatIpv4() are each other's inverse", () => {
  for (const text of ["0.0.0.0", "10.96.0.1", "128.0.0.1", "255.255.255.255"]) {
    assert.equal(formatIpv4(parseIpv4(text)!), text);
  }
  assert.equal(parseIpv4("10.0.0.1"), 0x0a000001);
  assert.equal(parseIpv4("255.255.255.255"), 0xffffffff);
});

Deno.test("parseIpv4() refuses what is no dotted quad", () => {
  const wrong = ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.04", "1.2.3.", ".1.2.3", "1..2.3"];
  for (const text of [...wrong, "a.b.c.d", "1.2.3.4 ", "::1", "1.2.3.-4", "None"]) {
    assert.equal(parseIpv4(text), undefined, text);
  }
});

Deno.test("looksLikeIpv6() tells IPv6 from mistakes", () => {
  for (const text of ["::", "fd00::1", "::ffff:1.2.3.4", "fe80::1%eth0"]) {
    assert.ok(looksLikeIpv6(text), text);
  }
  for (const text of ["", "10.0.0.1", "None", "web:80"]) assert.ok(!looksLikeIpv6(text), text);
});
