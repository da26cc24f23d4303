import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { objectTitle } from "../model/objects.ts";
import { parseDocuments, parsePiece } from "./parse.ts";

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

const list = (item: unknown) => ({ apiVersion: "v1", kind: "List", items: [item] });

const problems: Record<string, [string, number, RegExp]> = {
  "a syntax error": [`${node("a")}  x: [1\n`, 5, /indentation/],
  "a key twice": [`${node("a")}kind: Node\n`, 4, /duplicated mapping key/],
  "a wrong value, in its line": [
    `${node("a")}spec:\n  podCIDRs:\n  - 10.0.0.0/24\n  - 10.0.0.0/99\n`,
    7,
    /^spec\.podCIDRs\[1\]: "10\.0\.0\.0\/99" is not an IP prefix: its length must be a number from 0 to 32$/,
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
  "a wrong value of an alias": [
    `${node("a")}  labels: &x {a: b}\nspec:\n  podCIDR: *x\n`,
    6,
    /^spec\.podCIDR: must be a string/,
  ],
  "more aliases than a person writes": [`a: &a 1\nb:\n${"- *a\n".repeat(101)}`, 102, /alias/],
  "an object that an alias repeats": [
    "apiVersion: v1\nkind: List\nitems:\n- &a {apiVersion: v1, kind: Node, metadata: {name: a}}\n- *a\n",
    4,
    /^items\[1\]: is an alias of an object before it$/,
  ],
  "lists within lists, which aliases could make endless": [
    JSON.stringify(list(list(list("a")))),
    0,
    /^items\[0\]\.items\[0\]: is a list within lists/,
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

const odd = {
  "numbers": "a: 0644\nb: 0o644\nc: 0x10\nd: 1e3\ne: .inf\nf: -0\ng: 1_000\nh: +1\ni: .5\n",
  "words that YAML 1.1 took for others": "a: yes\nb: off\nc: ~\nd: Null\ne: True\nf: y\n",
  "times and addresses": "a: 2024-01-02T03:04:05Z\nb: 12:30\nc: 10.0.0.0/8\nd: 1.2.3\n",
  "quotes and escapes": `a: "x\\ny \\u00e4"\nb: 'it''s'\n"c/d": "#"\n`,
  "texts": "a: |\n  one\n    two\n\n  three\nb: >-\n  x\n  y\nc: x\n  y\n",
  "collections": "a:\n- 1\n- [b, {c: d}]\n-\n  e: f\ng: {}\nh: []\n",
  "comments": "# head\na: 1 # one\n\n  # inside\nb:\n  # c\n  c: 2\n",
  "names of Object": "constructor: 1\n__proto__: 2\ntoString: 3\n",
  "an anchor": "a: &x {b: 1}\nc: *x\n",
  "a merge key": "a: &x {b: 1}\nc:\n  <<: *x\n",
  "two documents": "a: 1\n---\nb: 2\n",
  "only a comment": "# nothing\n",
  "a tab": "a:\n\t- 1\n",
};

for (const [name, text] of Object.entries(odd)) {
  Deno.test(`parseDocuments() reads ${name} as another parser does`, () => {
    const other = [...parseAllDocuments(text, { merge: true })];
    if (other.some(({ errors }) => errors.length > 0)) assert.throws(() => parseDocuments(text));
    else {
      const values = other.map((document) => document.toJS());
      assert.equal(JSON.stringify(parseDocuments(text)), JSON.stringify(values));
    }
  });
}

Deno.test("parsePiece() refuses what would take long: large YAML, and many mistakes at once", () => {
  const piece = (text: string) => parsePiece(new TextEncoder().encode(text)).problems;
  const large = Array.from({ length: 200_000 }, (_, i) => `k${i}: v`).join("\n");
  assert.match(
    piece(large)[0]!.reason,
    /^a document of \d+ KiB is too large for YAML: at most 1536 KiB; write/,
  );
  assert.deepEqual(piece(JSON.stringify({ kind: "List", apiVersion: "v1", a: large })), []);
  assert.match(piece(`a: ${"[".repeat(1 << 20)}`)[0]!.reason, /nesting exceeded/);
  assert.equal(piece("%YAML 1.2\n" + "---\na: b\n".repeat(1000)).length, 10);
});
