import assert from "node:assert/strict";
import { icmpEcho, internetChecksum, readIcmpEchoReply } from "./icmp.ts";

Deno.test("internetChecksum() agrees with RFC 1071's example", () => {
  // Section 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2.
  const bytes = new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
  assert.equal(internetChecksum(bytes), ~0xddf2 & 0xffff);
  assert.equal(internetChecksum(new Uint8Array([0xff])), 0x00ff);
});

function reply(id: number, sequence: number, headerWords = 5): Uint8Array {
  const message = icmpEcho(id, sequence);
  message[0] = 0;
  message.fill(0, 2, 4);
  new DataView(message.buffer).setUint16(2, internetChecksum(message));
  return new Uint8Array([0x40 | headerWords, ...new Uint8Array(headerWords * 4 - 1), ...message]);
}

Deno.test("readIcmpEchoReply() finds identifier and sequence behind the IP header", () => {
  assert.deepEqual(readIcmpEchoReply(reply(0xbeef, 7)), { id: 0xbeef, sequence: 7 });
  assert.deepEqual(readIcmpEchoReply(reply(1, 2, 15)), { id: 1, sequence: 2 });
});

Deno.test("readIcmpEchoReply() ignores requests, runts and wrong checksums", () => {
  const request = new Uint8Array([0x45, ...new Uint8Array(19), ...icmpEcho(1, 1)]);
  assert.equal(readIcmpEchoReply(request), undefined);
  assert.equal(readIcmpEchoReply(new Uint8Array([0x45, 0])), undefined);
  assert.equal(readIcmpEchoReply(new Uint8Array()), undefined);
  const broken = reply(1, 1);
  broken[25] = broken[25]! ^ 1;
  assert.equal(readIcmpEchoReply(broken), undefined);
});
