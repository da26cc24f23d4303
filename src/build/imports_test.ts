import { deepEqual, equal, ok } from "node:assert/strict";
import {
  circles,
  exportsOf,
  importedNames,
  importsOf,
  isAllowed,
  layerOf,
  partImports,
  projectImports,
  readSources,
  unusedExports,
  unusedPermissions,
} from "./imports.ts";
import { root } from "./steps.ts";

const sources = readSources(root);
const imports = projectImports(sources);

Deno.test("importsOf() finds static, type, side effect, dynamic and re-exporting imports", () => {
  const source = [
    'import { a } from "../model/a.ts";',
    'import {\n  b,\n  type C,\n} from "./b.ts";',
    'import "./effect.ts";',
    'export * from "../../cni/d.ts";',
    '  const { e } = await import("./e.ts");',
    'import { join } from "node:path";',
    'const text = "from \\"../no.ts\\"";',
  ].join("\n");
  deepEqual(importsOf("src/agent/x.ts", source).map(({ to }) => to), [
    ...["src/model/a.ts", "src/agent/b.ts", "src/agent/effect.ts", "cni/d.ts", "src/agent/e.ts"],
  ]);
});

Deno.test("isAllowed() keeps the layers apart", () => {
  equal(layerOf("src/bpf/map.ts"), "src/bpf");
  equal(layerOf("cni/add.ts"), "cni");
  const cases: [string, string, boolean][] = [
    ["src/services/plan.ts", "src/model/objects.ts", true],
    ["src/services/plan.ts", "src/services/runs.ts", true],
    ["src/services/plan.ts", "src/bpf/map.ts", false],
    ["src/linux/libc.ts", "src/bpf/map.ts", false],
    ["cni/add.ts", "src/model/objects.ts", false],
    ["cni/add.ts", "src/net/address.ts", true],
    ["src/services/plan.ts", "src/abi/enums.ts", true],
    ["src/net/address.ts", "src/linux/libc.ts", false],
    ["src/cli/lab.ts", "src/lab/up.ts", true],
    ["src/lab/up.ts", "tests/support/pcnk.ts", false],
    ["src/lab/up_test.ts", "tests/support/pcnk.ts", true],
    ["src/lab/up_test.ts", "tests/netns/support/x.ts", false],
    ["src/unheard/of.ts", "src/model/objects.ts", false],
  ];
  for (const [from, to, allowed] of cases) {
    equal(isAllowed({ from, to }), allowed, `${from} → ${to}`);
  }
});

Deno.test("every file of the project imports only what its layer may", () => {
  ok(imports.length > 500, `only ${imports.length} imports found`);
  const broken = imports.filter((one) => !isAllowed(one));
  deepEqual(broken.map(({ from, to }) => `${from} imports ${to}`), []);
});

Deno.test("every permission of the layers is used", () => {
  deepEqual(unusedPermissions(imports), []);
  const some = imports.filter(({ to }) => layerOf(to) !== "src/vpc");
  deepEqual(unusedPermissions(some), ["src/agent → src/vpc"]);
});

Deno.test("circles() names one circle of those that import each other", () => {
  const edges = (text: string) => text.split(" ").map((one) => ({ from: one[0]!, to: one[1]! }));
  deepEqual(circles(edges("ab bc cd aa")), []);
  deepEqual(circles(edges("ab bc cb xy yz zx zy")), ["b → c → b", "x → y → z → x"]);
});

Deno.test("no file and no part imports itself by way of others", () => {
  deepEqual(circles(imports), []);
  deepEqual(circles(partImports(imports)), []);
  const back = { from: "src/model/ids.ts", to: "src/agent/agent.ts" };
  ok(circles(partImports([...imports, back])).some((one) => one.includes("src/model → src/agent")));
});

Deno.test("exportsOf() and importedNames() know what deno fmt writes", () => {
  const exported = [
    "export const a = 1;",
    "export async function b() {}",
    "export abstract class C {}",
    "export type D = 1;",
    "const e = 1, f = 2;\nexport { e, f as g };",
    'export { type H } from "./h.ts";',
    "const hidden = 1;",
  ].join("\n");
  deepEqual(exportsOf(exported), ["a", "b", "C", "D", "e", "g", "H"]);
  const importing = [
    'import { a, type B as C } from "./x.ts";',
    'export { d } from "../y.ts";',
    'import * as all from "./z.ts";\nall.e(all.f);',
    'const { g, h: i } = await import("./x.ts");',
    '(await import("./x.ts")).j();',
    'export * from "./w.ts";',
  ].join("\n");
  deepEqual(importedNames("src/a/b.ts", importing), [
    ...["src/a/x.ts: a", "src/a/x.ts: B", "src/y.ts: d", "src/a/x.ts: g", "src/a/x.ts: h"],
    ...["src/a/x.ts: j", "src/a/z.ts: e", "src/a/z.ts: f", "src/a/w.ts: *"],
  ]);
});

Deno.test("unusedExports() counts tests as users only of what the file itself uses", () => {
  const unused = (test: string) =>
    unusedExports(
      new Map([
        ["src/a/a.ts", "export const a = 1;\nexport const b = a;\nexport const c = 3;"],
        ["src/a/b.ts", 'import { b } from "./a.ts";'],
        ["src/a/a_test.ts", test],
      ]),
    );
  deepEqual(unused(""), ["src/a/a.ts: a", "src/a/a.ts: c"]);
  deepEqual(unused('import { a, c } from "./a.ts";'), ["src/a/a.ts: c"]);
});

Deno.test("every export has a user beside its file and its tests", () => {
  const generated = "src/bpf/layout.ts"; // every struct of bpf/lib, whether something reads it or not
  deepEqual(unusedExports(sources).filter((one) => !one.startsWith(generated)), []);
});
