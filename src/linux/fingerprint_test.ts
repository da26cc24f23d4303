import assert from "node:assert/strict";
import { Fingerprint } from "./fingerprint.ts";

function fingerprint(...parts: number[][]): string {
  const found = new Fingerprint();
  for (const part of parts) {
    found.add(new DataView(Uint8Array.from(part).buffer), 0, part.length);
  }
  return found.text;
}

Deno.test("a Fingerprint is another one when any byte is, or a length, or the order", () => {
  const bytes = Array.from({ length: 23 }, (_, i) => i * 11 % 251);
  const whole = fingerprint(bytes);
  assert.equal(fingerprint([...bytes]), whole);
  const others = bytes.flatMap((byte, i) =>
    [1, 0x80, 0xff].map((flip) => fingerprint(bytes.with(i, byte ^ flip)))
  );
  const lengths = [fingerprint(bytes.slice(1)), fingerprint([...bytes, 0]), fingerprint([])];
  const order = [
    fingerprint([...bytes.slice(4, 8), ...bytes.slice(0, 4), ...bytes.slice(8)]),
    fingerprint(bytes.toReversed()),
  ];
  const all = [whole, ...others, ...lengths, ...order];
  assert.equal(new Set(all).size, all.length);
});

Deno.test("a Fingerprint takes a part of a view", () => {
  const found = new Fingerprint();
  found.add(new DataView(Uint8Array.of(9, 1, 2, 3, 4, 5, 9).buffer), 1, 5);
  assert.equal(found.text, fingerprint([1, 2, 3, 4, 5]));
});
