import assert from "node:assert/strict";
import { LITTLE, Message, parseMessages, Reader } from "./netlink_message.ts";

Deno.test("Message and parseMessages() are each other's reverse", () => {
  const built = new Message().u8(1).u8(2).u16(3).u32(4)
    .attrU32(7, 0xdeadbeef)
    .attrString(8, "name")
    .nest(9, (inner) => inner.attrU8(1, 5).attrBe16(2, 80));
  const bytes = built.finish(16, 5, 99);
  assert.equal(bytes.length % 4, 0);
  const [message, ...rest] = parseMessages(new Uint8Array([...bytes, ...bytes]));
  assert.equal(rest.length, 1);
  assert.deepEqual([message!.type, message!.flags, message!.sequence], [16, 5, 99]);
  const { body } = message!;
  assert.deepEqual([body.u8(0), body.u8(1), body.u16(2), body.u32(4)], [1, 2, 3, 4]);
  const attrs = body.attrs(8);
  assert.equal(attrs.get(7)!.u32(0), 0xdeadbeef);
  assert.equal(attrs.get(8)!.text(), "name");
  const inner = attrs.get(9)!.attrs();
  assert.equal(inner.get(1)!.u8(0), 5);
  assert.deepEqual([...inner.get(2)!.bytes], [0, 80]);
});

Deno.test("Message grows", () => {
  const message = new Message();
  for (let i = 0; i < 1000; i++) message.attrU32(i, i);
  const [parsed] = parseMessages(new Uint8Array(message.finish(1, 0, 1)));
  assert.equal(parsed!.body.attrs().get(999)!.u32(0), 999);
});

Deno.test("parseMessages() and attrs() stop at nonsense", () => {
  assert.deepEqual(parseMessages(new Uint8Array(15)), []);
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, 4000, LITTLE); // longer than what came
  assert.deepEqual(parseMessages(bytes), []);
  assert.equal(new Reader(Uint8Array.of(3, 0, 1, 0)).attrs().size, 0);
  assert.equal(new Reader(Uint8Array.of(200, 0, 1, 0)).attrs().size, 0);
  assert.equal(new Reader(new Uint8Array()).attrs().size, 0);
});
