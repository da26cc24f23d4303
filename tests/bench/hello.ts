/** The bare hello world that pcnk's start is held against: the same denort, nothing in it. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findDenort } from "../../src/build/denort.ts";
import { root, run } from "../../src/build/steps.ts";

/** Compiles it, unless there is one by this Deno and denort; returns its path. */
export function buildHello(): string {
  const dir = join(root, "dist/bench/hello");
  const program = join(dir, "hello"), stamp = join(dir, "stamp");
  const denort = findDenort();
  const wanted = `${Deno.version.deno} ${denort.origin} ${denort.path ?? ""}`;
  if (existsSync(program) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) {
    return program;
  }
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "deno.json"), '{"nodeModulesDir":"none"}');
  writeFileSync(join(dir, "hello.js"), 'console.log("hello");\n');
  run(Deno.execPath(), ["compile", "--quiet", "--no-check", "-A", "-o", program, "hello.js"], {
    cwd: dir,
    env: denort.path ? { DENORT_BIN: denort.path } : {},
  });
  writeFileSync(stamp, wanted);
  return program;
}
