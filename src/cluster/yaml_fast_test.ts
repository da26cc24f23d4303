import assert from "node:assert/strict";
import { parseDocument, stringify } from "yaml";
import { parsePlainYaml } from "./yaml_fast.ts";

/** What the whole parser makes of it; undefined for an error or several documents. */
function whole(text: string): { value: unknown } | undefined {
  const document = parseDocument(text, { merge: true });
  return document.errors.length > 0 ? undefined : { value: document.toJS() };
}

const plain: Record<string, [string, unknown]> = {
  "a service": [
    "apiVersion: v1\nkind: Service\nspec:\n  clusterIP: 10.96.0.1\n  ports:\n  - port: 80\n    name: http\n",
    {
      apiVersion: "v1",
      kind: "Service",
      spec: { clusterIP: "10.96.0.1", ports: [{ port: 80, name: "http" }] },
    },
  ],
  "sequences indented or not": [
    "a:\n- 1\n- 2\nb:\n  - x\n  - y: z\n",
    { a: [1, 2], b: ["x", { y: "z" }] },
  ],
  "constants": ["a: ~\nb: true\nc: null\nd:\ne: False\n", {
    a: null,
    b: true,
    c: null,
    d: null,
    e: false,
  }],
  "quotes": [`a: "1"\nb: 'x: y'\n"c/d": "#"\n`, { a: "1", b: "x: y", "c/d": "#" }],
  "flow": ["a: [10.0.0.1, {name: x, port: 80}]\nb: []\nc: {}\n", {
    a: ["10.0.0.1", { name: "x", port: 80 }],
    b: [],
    c: {},
  }],
  "a text": ["a: |\n  one\n    two\n\n  three\nb: |-\n  x\nc: 1\n", {
    a: "one\n  two\n\nthree\n",
    b: "x",
    c: 1,
  }],
  "comments of their own": ["# head\na: 1\n\n  # inside\nb:\n  # c\n  c: 2\n", {
    a: 1,
    b: { c: 2 },
  }],
  "times and versions": [
    "a: 2024-01-02T03:04:05Z\nb: 1.2.3\nc: 10.0.0.0/8\n",
    { a: "2024-01-02T03:04:05Z", b: "1.2.3", c: "10.0.0.0/8" },
  ],
  "nothing": ["# only a comment\n\n", null],
};

for (const [name, [text, value]] of Object.entries(plain)) {
  Deno.test(`parsePlainYaml() reads ${name}`, () => {
    const got = parsePlainYaml(text);
    assert.deepEqual(got?.value, value);
    assert.deepEqual(got, whole(text));
  });
}

const notPlain = {
  "an anchor": "a: &x 1\nb: *x\n",
  "a tag": "a: !!str 1\n",
  "a comment behind a value": "a: 1 # one\n",
  "folded text": "a: >\n  x\n  y\n",
  "a scalar on two lines": "a: x\n  y\n",
  "a key twice": "a: 1\na: 2\n",
  "a tab": "a:\n\t- 1\n",
  "an old octal": "mode: 0644\n",
  "a float": "a: 1.5\n",
  "an escape": 'a: "x\\ny"\n',
  "a merge key": "a: {<<: {b: 1}}\n",
  "a wrong indentation": "a:\n  b: 1\n c: 2\n",
  "an open quote": "a: 'x\nb: 1\n",
  "a name of Object": "constructor: 1\n",
  "a complex key": "? a\n: b\n",
};

for (const [name, text] of Object.entries(notPlain)) {
  Deno.test(`parsePlainYaml() leaves ${name} to the whole parser`, () => {
    assert.equal(parsePlainYaml(text), undefined);
  });
}

Deno.test("parsePlainYaml() agrees with the whole parser or gives up, on ten thousand mutations", () => {
  const random = generator(7);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const scalars = [
    ...[
      "x",
      "10.0.0.1",
      "true",
      "null",
      "~",
      "",
      "1e3",
      "0x1f",
      "a: b",
      "- a",
      "#",
      "a #b",
      "1_000",
      "yes",
    ],
    ...[
      "2024-01-01",
      "it's",
      'say "hi"',
      "[a]",
      "{",
      "-",
      "--- x",
      "|",
      "a\nb\n",
      " x ",
      "ä",
      ".5",
      "+1",
      "12:30",
    ],
    ...[0, 1, 80, -5, 1.5, true, false, null, 65535, 1e21],
  ];
  const keys = [
    "name",
    "a",
    "pcnk.io/weight",
    "1",
    "true",
    "a b",
    "-",
    "x:y",
    "__proto__",
    "k8s_y",
    "",
    "null",
  ];
  const value = (depth: number): unknown => {
    const kind = depth > 3 ? 1 : random();
    if (kind > 0.5) return pick(scalars);
    const size = Math.floor(random() * 4);
    if (kind > 0.25) return Array.from({ length: size }, () => value(depth + 1));
    return Object.fromEntries(Array.from({ length: size }, () => [pick(keys), value(depth + 1)]));
  };
  const bits = [
    "\n",
    "  ",
    " ",
    ":",
    ": ",
    "- ",
    "#",
    '"',
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    "|",
    "a",
    "1",
    "\n  ",
    "-",
    "~",
    ".",
  ];
  let fast = 0;
  for (let i = 0; i < 10_000; i++) {
    let text = stringify({ a: value(0), b: value(1) }, {
      indentSeq: random() > 0.5,
      lineWidth: random() > 0.5 ? 0 : 80,
      defaultStringType: pick(["PLAIN", "PLAIN", "QUOTE_DOUBLE", "QUOTE_SINGLE"] as const),
      collectionStyle: pick(["any", "any", "any", "flow"] as const),
    });
    for (let n = Math.floor(random() * 3); n > 0; n--) {
      const at = Math.floor(random() * text.length);
      const cut = random() > 0.5 ? Math.floor(random() * 3) : 0;
      text = text.slice(0, at) + (random() > 0.3 ? pick(bits) : "") + text.slice(at + cut);
    }
    const got = parsePlainYaml(text);
    if (got === undefined) continue;
    fast++;
    assert.deepEqual(got, whole(text), `not the same for ${JSON.stringify(text)}`);
  }
  assert.ok(fast > 1000, `only ${fast} were plain enough to compare`);
});

/** mulberry32: small, and the same everywhere. */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
