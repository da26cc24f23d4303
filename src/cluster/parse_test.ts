import assert from "node:assert/strict";
import { objectTitle } from "../model/objects.ts";
import { parsePiece } from "./parse.ts";

const parse = (text: string) => parsePiece(new TextEncoder().encode(text));
const node = (name: string) => `apiVersion: v1\nkind: Node\nmetadata:\n  name: ${name}\n`;
const titles = (text: string) => parse(text).objects.map(objectTitle);

Deno.test("parsePiece() reads plain YAML, YAML with everything, and JSON", () => {
  assert.deepEqual(titles(`---\n${node("a")}`), ["Node a"]);
  assert.deepEqual(titles(`--- # first\n${node("&x a # its name")}`), ["Node a"]);
  assert.deepEqual(titles('{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"}}'), ["Node a"]);
  assert.deepEqual(titles("{apiVersion: v1, kind: Node, metadata: {name: a}}"), ["Node a"]);
  assert.deepEqual(titles(`%YAML 1.2\n---\n${node("a")}...\n---\n${node("b")}`), [
    "Node a",
    "Node b",
  ]);
  assert.deepEqual(titles("---\n# nothing\n"), []);
});

const problems: Record<string, [string, number, RegExp]> = {
  "a syntax error": [`${node("a")}  x: [1\n`, 5, /flow|\]/i],
  "a key twice": [`${node("a")}kind: Node\n`, 4, /unique/],
  "a wrong value, in its line": [
    `${node("a")}spec:\n  podCIDRs:\n  - 10.0.0.0/24\n  - 10.0.0.0/99\n`,
    7,
    /^spec\.podCIDRs\[1\]: "10\.0\.0\.0\/99" is not an IPv4 prefix$/,
  ],
  "a missing value, in the line of what it is missing from": [
    "apiVersion: v1\nkind: Node\nmetadata:\n  labels: {}\n",
    3,
    /^metadata\.name: is missing$/,
  ],
  "a wrong value in JSON": [
    '{\n  "apiVersion": "v1",\n  "kind": "Node",\n  "metadata": {\n    "name": 7\n  }\n}\n',
    4,
    /^metadata\.name: must be a string, not 7$/,
  ],
  "broken JSON": ['{\n  "apiVersion": "v1",\n  "kind" "Node"\n}\n', 2, /./],
  "aliases without end": [
    `a: &a [x, x, x, x, x, x, x, x, x]\n` +
    "bcdefgh".split("").map((k, i) =>
      `${k}: &${k} [${Array(9).fill("*" + "abcdefg"[i]).join(", ")}]\n`
    ).join(""),
    0,
    /alias/i,
  ],
};

for (const [name, [text, offset, reason]] of Object.entries(problems)) {
  Deno.test(`parsePiece() reports ${name}`, () => {
    const [problem] = parse(text).problems;
    assert.match(problem?.reason ?? "", reason);
    assert.equal(problem?.offset, offset);
  });
}

Deno.test("parsePiece() reports bytes that are not UTF-8", () => {
  assert.deepEqual(parsePiece(new Uint8Array([0x61, 0xff])).problems, [
    { offset: 0, reason: "is not UTF-8 text" },
  ]);
});
