import assert from "node:assert/strict";
import {
  array,
  be16,
  type Codec,
  ipv4,
  mac,
  pad,
  perCpu,
  possibleCpus,
  struct,
  u16,
  u32,
  u64,
  u8,
} from "./codec.ts";

function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const bytes = new Uint8Array(codec.size + 4).fill(0xee);
  codec.encode(value, new DataView(bytes.buffer), 2);
  assert.deepEqual([...bytes.subarray(0, 2), ...bytes.subarray(-2)], [0xee, 0xee, 0xee, 0xee]);
  assert.deepEqual(codec.decode(new DataView(bytes.buffer), 2), value);
  return bytes.slice(2, -2);
}

const host = (bytes: number[]) =>
  new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? bytes.toReversed() : bytes;

Deno.test("be16 is in network byte order whatever the host", () => {
  assert.deepEqual([...encode(be16, 80)], [0, 80]);
});

Deno.test("u8, u16, u32 and u64 are in host byte order", () => {
  assert.deepEqual([...encode(u8, 255)], [255]);
  assert.deepEqual([...encode(u16, 0x0102)], host([1, 2]));
  assert.deepEqual([...encode(u32, 0x01020304)], host([1, 2, 3, 4]));
  assert.deepEqual([...encode(u64, 0x0102030405060708n)], host([1, 2, 3, 4, 5, 6, 7, 8]));
});

Deno.test("integers refuse what does not fit", () => {
  for (const [codec, value] of [[u8, 256], [be16, 65536], [u32, 2 ** 32], [u16, -1]] as const) {
    assert.throws(() => encode(codec, value), RangeError);
  }
  assert.throws(() => encode(u8, 1.5), RangeError);
  assert.throws(() => encode(u8, NaN), RangeError);
  assert.throws(() => encode(u8, undefined as unknown as number), RangeError);
  assert.throws(() => encode(u64, -1n), RangeError);
  assert.throws(() => encode(u64, 2n ** 64n), RangeError);
});

Deno.test("ipv4 and mac are texts", () => {
  assert.deepEqual([...encode(ipv4, "10.1.2.3")], [10, 1, 2, 3]);
  assert.deepEqual([...encode(mac, "02:00:00:00:00:ff")], [2, 0, 0, 0, 0, 255]);
  assert.throws(() => encode(ipv4, "10.1.2"), TypeError);
});

Deno.test("struct() lays out members as C does", () => {
  const codec = struct("mixed", { a: u8, b: u32, c: u16, d: u64, e: mac, f: u8 });
  assert.deepEqual(codec.fields, [
    { name: "a", offset: 0, size: 1 },
    { name: "b", offset: 4, size: 4 },
    { name: "c", offset: 8, size: 2 },
    { name: "d", offset: 16, size: 8 },
    { name: "e", offset: 24, size: 6 },
    { name: "f", offset: 30, size: 1 },
  ]);
  assert.equal(codec.size, 32);
  assert.equal(codec.align, 8);
});

Deno.test("struct() writes zeros into pad() and keeps it out of values", () => {
  const codec = struct("padded", { a: u8, reserved: pad(u8), b: u16 });
  assert.deepEqual([...encode(codec, { a: 1, b: 0x0202 })], [1, 0, 2, 2]);
});

Deno.test("struct() names the member that does not fit", () => {
  const codec = struct("service_key", { addr: ipv4, port: be16 });
  assert.throws(() => encode(codec, { addr: "10.0.0.1", port: 70000 }), {
    message: "service_key.port: 70000 is not a be16 (0 to 65535)",
  });
});

Deno.test("array() and struct() nest", () => {
  const codec = struct("outer", { n: u8, list: array(struct("inner", { x: u16, y: u8 }), 2) });
  assert.equal(codec.size, 10);
  encode(codec, { n: 1, list: [{ x: 1, y: 2 }, { x: 3, y: 4 }] });
  assert.throws(() => encode(array(u8, 2), [1]), RangeError);
});

Deno.test("perCpu() rounds each element up to eight bytes", () => {
  const codec = perCpu(u32, 3);
  assert.deepEqual([codec.size, codec.elementSize], [24, 4]);
  const bytes = new Uint8Array(24);
  codec.encode([1, 2, 3], new DataView(bytes.buffer), 0);
  assert.deepEqual([...new BigUint64Array(bytes.buffer)].length, 3);
  assert.deepEqual(codec.decode(new DataView(bytes.buffer), 0), [1, 2, 3]);
});

Deno.test("possibleCpus() counts ranges", () => {
  assert.equal(possibleCpus("0\n"), 1);
  assert.equal(possibleCpus("0-3\n"), 4);
  assert.equal(possibleCpus("0-3,8,10-11"), 7);
  assert.ok(possibleCpus() >= 1);
});
