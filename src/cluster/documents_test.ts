import assert from "node:assert/strict";
import { hashBytes, splitDocuments } from "./documents.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** The pieces' texts and first lines. */
function split(text: string): [string, number][] {
  const all = bytes(text);
  return splitDocuments(all).map(({ start, end, line }) => [
    new TextDecoder().decode(all.subarray(start, end)),
    line,
  ]);
}

const cases: Record<string, [string, [string, number][]]> = {
  "an empty file": ["", []],
  "one document": ["a: 1\n", [["a: 1\n", 1]]],
  "several": ["a: 1\n---\nb: 2\n--- \nc: 3", [["a: 1\n", 1], ["---\nb: 2\n", 2], [
    "--- \nc: 3",
    4,
  ]]],
  "a separator at the start": ["---\na: 1\n", [["---\na: 1\n", 1]]],
  "dashes that separate nothing": ["----\n--- x\n ---\n", [["----\n", 1], ["--- x\n ---\n", 2]]],
  "lines that end in CR LF": ["a: 1\r\n---\r\nb: 2\r\n", [["a: 1\r\n", 1], ["---\r\nb: 2\r\n", 2]]],
  "directives, which do not split": ["%YAML 1.2\n---\na: 1\n", [["%YAML 1.2\n---\na: 1\n", 1]]],
  "document ends, which do not split": ["a: 1\n...\n---\nb: 1\n", [["a: 1\n...\n---\nb: 1\n", 1]]],
};

for (const [name, [text, pieces]] of Object.entries(cases)) {
  Deno.test(`splitDocuments() handles ${name}`, () => assert.deepEqual(split(text), pieces));
}

Deno.test("splitDocuments() gives equal documents equal hashes, whatever they stand behind", () => {
  const [, second] = splitDocuments(bytes("a: 1\n---\nb: 2\n"));
  const [, other] = splitDocuments(bytes("aaaaaaa: 1\n---\nb: 2\n"));
  assert.equal(second!.hash, other!.hash);
});

Deno.test("hashBytes() tells a hundred thousand similar texts apart", () => {
  const seen = new Set<number>();
  for (let i = 0; i < 100_000; i++) {
    const text = bytes(`address: 10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    seen.add(hashBytes(text, 0, text.length));
  }
  assert.equal(seen.size, 100_000);
});
