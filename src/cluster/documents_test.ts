import assert from "node:assert/strict";
import { hashBytes, splitDocuments } from "./documents.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** Hands `all` out in parts of `size` bytes. */
function reader(all: Uint8Array, size = Infinity) {
  let done = 0;
  return (into: Uint8Array) => {
    const part = all.subarray(done, done + Math.min(into.length, size));
    into.set(part);
    done += part.length;
    return part.length;
  };
}

function* pieces(text: string, size?: number) {
  for (const piece of splitDocuments(reader(bytes(text), size))) if (piece) yield piece;
}

/** The pieces' texts and first lines. */
function split(text: string, size?: number): [string, number][] {
  return Array.from(
    pieces(text, size),
    (piece) => [new TextDecoder().decode(piece.bytes), piece.line],
  );
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
  Deno.test(`splitDocuments() handles ${name}, however it is read`, () => {
    for (const size of [undefined, 1, 3, 7]) assert.deepEqual(split(text, size), pieces);
  });
}

const hashes = (text: string) => [...pieces(text)].map(({ hash }) => hash);

Deno.test("splitDocuments() gives equal documents equal hashes, whatever they stand behind", () => {
  assert.equal(hashes("a: 1\n---\nb: 2\n")[1], hashes("aaaaaaa: 1\n---\nb: 2\n")[1]);
});

Deno.test("splitDocuments() splits a large file as a small one", () => {
  const documents = Array.from(
    { length: 300 },
    (_, i) => `---\n${`key${i}: value\n`.repeat(i * 7)}`,
  );
  const pieces = split(documents.join(""));
  assert.deepEqual(pieces.map(([text]) => text), documents);
  assert.equal(pieces.at(-1)![1], documents.slice(0, -1).join("").split("\n").length);
});

Deno.test("hashBytes() tells a hundred thousand similar texts apart", () => {
  const seen = new Set<number>();
  for (let i = 0; i < 100_000; i++) {
    seen.add(hashBytes(bytes(`address: 10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)));
  }
  assert.equal(seen.size, 100_000);
});
