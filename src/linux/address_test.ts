import assert from "node:assert/strict";
import { formatAddress, formatIpv4, formatMac, ipv4Bytes, macBytes, parseIpv4 } from "./address.ts";

Deno.test("parseIpv4() and formatIpv4() are each other's reverse", () => {
  for (const text of ["0.0.0.0", "10.0.0.1", "127.0.0.1", "192.168.255.254", "255.255.255.255"]) {
    assert.equal(formatIpv4(parseIpv4(text)), text);
    assert.equal(formatAddress(ipv4Bytes(text)), text);
  }
  assert.equal(parseIpv4("1.2.3.4"), 0x01020304);
  assert.deepEqual([...ipv4Bytes("255.0.128.1")], [255, 0, 128, 1]);
});

Deno.test("parseIpv4() refuses everything else", () => {
  const bad = ["", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.999", "01.2.3.4", "1.2.3.04"];
  for (
    const text of [...bad, "1..2.3", ".1.2.3", "1.2.3.", "1.2.3.4 ", "-1.2.3.4", "a.b.c.d", "::1"]
  ) {
    assert.throws(() => parseIpv4(text), TypeError, text);
  }
});

Deno.test("formatMac() and macBytes() are each other's reverse", () => {
  assert.equal(formatMac(macBytes("02:00:AB:cd:00:ff")), "02:00:ab:cd:00:ff");
  for (const text of ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "0g:00:00:00:00:00"]) {
    assert.throws(() => macBytes(text), TypeError, text);
  }
});

Deno.test("formatAddress() writes the groups of 16 bytes", () => {
  assert.equal(formatAddress(new Uint8Array(16).with(15, 1)), "0:0:0:0:0:0:0:1");
});
