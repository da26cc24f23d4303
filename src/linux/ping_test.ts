import assert from "node:assert/strict";
import { checksum, echoRequest } from "./ping.ts";

Deno.test("checksum() follows the example of RFC 1071", () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.equal(checksum(bytes), ~0xddf2 & 0xffff);
  assert.equal(checksum(Uint8Array.of(1)), ~0x0100 & 0xffff);
});

Deno.test("echoRequest() is an echo request whose checksum is right", () => {
  for (const size of [0, 1, 56, 1472]) {
    const packet = echoRequest(0x1234, size);
    assert.equal(packet.length, 8 + size);
    assert.deepEqual([packet[0], packet[1], packet[4], packet[5]], [8, 0, 0x12, 0x34]);
    assert.equal(checksum(packet), 0);
  }
});
