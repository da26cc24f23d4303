/**
 * Boots the kernels that pcnk promises to run on, and in each has the verifier look at every program, runs the packet tests
 * of lbrp, and `pcnk lab demo`. What was counted goes to dist/vm/NAME-ARCH.json, out of which report.ts makes
 * docs/kernels.md.
 *
 *   deno test -A tests/vm -- 5.10-amd64 6.1-arm64     only these; by default all, and the page
 */
import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root as checkout } from "../../src/build/steps.ts";
import type { Arch } from "./archive.ts";
import { boot, type Step } from "./boot.ts";
import type { Calls } from "./calls.ts";
import { kernel, SUITES } from "./kernels.ts";
import { reportFile, type Run, writePage } from "./report.ts";
import { missing, root } from "./root.ts";
import type { Verified } from "./verifier.ts";

/** The kernel's own limit is a million; what nears it today is refused by tomorrow's clang. */
const MOST_INSTRUCTIONS = 750_000;

/** Tail calls in programs with calls between functions: everywhere, but on arm64 since Linux 6.0 only. */
function expectedCalls(version: string, arch: Arch): Calls["direct"] | RegExp {
  return arch === "arm64" && parseInt(version) < 6 ? /^refused/ : "works";
}

const wanted = Deno.args;

/** arm64: the floor, and the first of Debian's kernels with both kinds of calls there. */
const MACHINES = {
  amd64: Object.keys(SUITES) as (keyof typeof SUITES)[],
  arm64: ["5.10", "6.1"],
} as const;

for (const arch of ["amd64", "arm64"] as const) {
  for (const name of MACHINES[arch]) {
    const id = `${name}-${arch}`;
    if (wanted.length > 0 && !wanted.includes(id)) continue;
    const reason = missing(arch);
    if (reason !== undefined) console.error(`skipped: ${id}: ${reason}`);
    Deno.test({ name: id, ignore: reason !== undefined, fn: (t) => run(t, name, arch) });
  }
}

Deno.test({ name: "docs/kernels.md", ignore: wanted.length > 0, fn: writePage });

async function run(t: Deno.TestContext, name: keyof typeof SUITES, arch: Arch): Promise<void> {
  const place = root(arch);
  const linux = kernel(name, arch);
  const file = reportFile(name, arch);
  rmSync(file, { force: true });
  mkdirSync(join(file, ".."), { recursive: true });
  const { pcnk, deno, prepare } = place;
  const compile = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "tests/vm/calls.ts", "compile", "dist/vm"],
    cwd: checkout,
  });
  assert((await compile.output()).success);
  const steps: Step[] = [
    {
      name: "verifier",
      command: `${prepare} && ${deno} run -A --no-check tests/vm/verifier.ts dist/artifacts`,
    },
    { name: "calls", command: `${deno} run -A --no-check tests/vm/calls.ts run dist/vm` },
    // scapy takes minutes to be read by 9p; its checksums are held against each packet elsewhere.
    {
      name: "packets",
      command: `${deno} test -A --no-check --filter '/^(?!.*scapy)/' tests/bpf/lbrp_test.ts`,
    },
    { name: "lab", command: `${pcnk} lab demo` },
  ];
  const started = performance.now();
  const results = await boot(linux, place, steps);
  const seconds = Math.round((performance.now() - started) / 1000);
  const found: Run = { name, arch, version: linux.version, release: linux.release, seconds };
  const step = (name: string, check: (stdout: string) => void) =>
    t.step(name, () => {
      const result = results.find((each) => each.name === name);
      assert(result, `the machine did not come to this; before it:\n${results.at(-1)?.output}`);
      assert.equal(result.code, 0, result.output);
      check(result.output);
    });
  await step("verifier", (text) => {
    found.programs = JSON.parse(text.slice(text.indexOf("[\n"))) as Verified[];
    const near = found.programs.filter(({ instructions }) => instructions > MOST_INSTRUCTIONS);
    assert.deepEqual(near, []);
  });
  await step("calls", (text) => {
    found.calls = JSON.parse(text.slice(text.indexOf("{"))) as Calls;
    const expected = expectedCalls(linux.version, arch);
    for (const each of [found.calls.direct, found.calls.nested]) {
      if (typeof expected === "string") assert.equal(each, expected);
      else assert.match(each, expected);
    }
  });
  await step("packets", (text) => {
    found.packets = Number(/(\d+) passed/.exec(text)?.[1]);
    assert(found.packets > 0, text);
  });
  await step("lab", (text) => {
    found.lab = Number(/(\d+) passed/.exec(text)?.[1]);
  });
  writeFileSync(file, JSON.stringify(found, null, 2));
}
