/** How bpf/ is cut: a header includes what it uses, and no header includes itself by way of others. */
import assert from "node:assert/strict";
import { basename } from "node:path";
import * as needs from "../support/needs.ts";
import { CLANG } from "../support/clang.ts";

const lib = new URL("../../bpf/lib/", import.meta.url).pathname;
const headers = [...Deno.readDirSync(lib)].map(({ name }) => name).sort();

function includes(header: string): string[] {
  const text = Deno.readTextFileSync(lib + header);
  return [...text.matchAll(/^#include "(.*)"$/gm)].map(([, path]) => basename(path!));
}

Deno.test("no circle between headers", () => {
  const done = new Set<string>();
  const walk = (header: string, path: string[]) => {
    assert.ok(!path.includes(header), [...path, header].join(" → "));
    if (done.has(header)) return;
    for (const next of includes(header)) walk(next, [...path, header]);
    done.add(header);
  };
  for (const header of headers) walk(header, []);
});

Deno.test({
  name: "every header compiles on its own",
  ignore: !needs.file(CLANG),
  async fn() {
    const include = `/usr/include/${Deno.build.arch}-linux-gnu`;
    const flags = ["-O2", "-target", "bpf", "-Wall", "-Werror", "-Wno-unused", "-fsyntax-only"];
    for (const header of headers) {
      const { stderr } = await new Deno.Command(CLANG, {
        args: [...flags, "-I", include, "-include", lib + header, "-x", "c", "/dev/null"],
      }).output();
      assert.equal(new TextDecoder().decode(stderr), "", header);
    }
  },
});
