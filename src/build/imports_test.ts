import { deepEqual, equal, ok } from "node:assert/strict";
import { importsOf, isAllowed, layerOf, projectImports } from "./imports.ts";
import { root } from "./steps.ts";

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
  const imports = projectImports(root);
  ok(imports.length > 500, `only ${imports.length} imports found`);
  const broken = imports.filter((one) => !isAllowed(one));
  deepEqual(broken.map(({ from, to }) => `${from} imports ${to}`), []);
});
