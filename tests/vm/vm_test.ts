/**
 * Boots the kernels that pcnk promises to run on, and in each has the verifier look at every program, runs the packet tests
 * of lbrp, and `pcnk lab demo`. What was counted goes to dist/vm/NAME-ARCH.json, and with all machines to docs/kernels.md.
 *
 *   deno test -A tests/vm -- 5.10-amd64 6.1-arm64     only these machines
 *   deno test -A tests/vm -- 5.10-amd64 lab           only that step
 *   deno test -A tests/vm -- 6.12-amd64 uplinks VRF   of its step uplinks, those whose name has that
 */
import assert from "node:assert/strict";
import { root as checkout } from "../../src/build/steps.ts";
import { commit } from "../bench/machine.ts";
import type { Arch } from "./archive.ts";
import { boot } from "./boot.ts";
import type { Calls } from "./calls.ts";
import { kernel, SUITES } from "./kernels.ts";
import { previousRun, type Run, writeOutput, writePage, writeRun } from "./report.ts";
import { missing, root, type TestRoot } from "./root.ts";
import type { Verified } from "./verifier.ts";

/** Of the million that the kernel allows; another version of clang may emit more for the same program. */
const MOST_INSTRUCTIONS = 750_000;

/** What is done in each machine, and what has to come of it. */
const STEPS: {
  name: string;
  /** The only one that has it. */
  arch?: Arch;
  command(root: TestRoot): string;
  check(output: string, run: Run): void;
}[] = [
  {
    name: "verifier",
    command: ({ deno }) => `${deno} run -A --no-check tests/vm/verifier.ts dist/artifacts`,
    check(output, run) {
      run.programs = verified(output);
      const near = run.programs.filter(({ instructions }) => instructions > MOST_INSTRUCTIONS);
      assert.deepEqual(near, []);
    },
  },
  {
    name: "calls",
    command: ({ deno }) => `${deno} run -A --no-check tests/vm/calls.ts run dist/vm`,
    check(output, run) {
      const calls = run.calls = JSON.parse(output.slice(output.indexOf("{"))) as Calls;
      // Everywhere, but on arm64 since Linux 6.0 only.
      const works = run.arch === "amd64" || parseInt(run.version) >= 6;
      for (const each of [calls.direct, calls.nested]) {
        assert.match(each, works ? /^works$/ : /^refused/);
      }
    },
  },
  {
    name: "packets", // but for lbrp's closing tests: scapy takes minutes to be read by 9p
    command: ({ deno }) =>
      `${deno} test -A --no-check --filter '/^([^l]|l[^b]|lb[^r]|lbr[^p]|lbrp[^:])/' tests/bpf/lbrp_test.ts tests/bpf/partial_test.ts`,
    check: (output, run) => run.packets = passed(output),
  },
  {
    name: "lab",
    command: ({ pcnk }) => `${pcnk} lab demo`,
    check: (output, run) => run.lab = passed(output),
  },
  {
    name: "uplinks", // arm64's root has no WireGuard tools
    arch: "amd64",
    command: ({ deno }) =>
      [deno, "test -A --no-check tests/vm/uplinks.ts --", ...wantedUplinks].join(" "),
    check(output, run) {
      assert.doesNotMatch(output, /skipped: /);
      const tried = Number(/\((\d+) steps?\)/.exec(output)?.[1] ?? 0);
      assert(tried > 0, output);
      if (wantedUplinks.length === 0) run.uplinks = tried;
    },
  },
  {
    name: "rates", // arm64's root has no Python
    arch: "amd64",
    command: ({ deno }) => `FIGURES=1 ${deno} test -A --no-check tests/netns/bandwidth_test.ts`,
    check: (output, run) => run.rates = passed(output),
  },
  {
    name: "converting", // programs that are attached while a table of an older version is converted
    command: ({ deno }) =>
      `${deno} run -A --no-check tests/vm/verifier.ts dist/artifacts converting`,
    check: (output, run) => run.converting = verified(output),
  },
];

function verified(output: string): Verified[] {
  return JSON.parse(output.slice(output.indexOf("[\n")));
}

function passed(output: string): number {
  const count = Number(/(\d+) passed/.exec(output)?.[1] ?? 0);
  assert(count > 0, output);
  return count;
}

/** arm64: the floor, and the first of Debian's kernels with both kinds of calls there. */
const MACHINES = {
  amd64: Object.keys(SUITES) as (keyof typeof SUITES)[],
  arm64: ["5.10", "6.1"],
} as const;

const wantedMachines = Deno.args.filter((each) => each.includes("-"));
const isStep = (name: string) => STEPS.some((step) => step.name === name);
const wantedSteps = Deno.args.filter(isStep);
const wantedUplinks = Deno.args.filter((each) => !each.includes("-") && !isStep(each));
if (wantedUplinks.length > 0 && !wantedSteps.includes("uplinks")) {
  throw new Error(
    `no such step: ${wantedUplinks.join(" ")}; there are ${
      STEPS.map(({ name }) => name).join(" ")
    }`,
  );
}
const steps = STEPS.filter(({ name }) => wantedSteps.length === 0 || wantedSteps.includes(name));

for (const arch of ["amd64", "arm64"] as const) {
  for (const name of MACHINES[arch]) {
    const id = `${name}-${arch}`;
    if (wantedMachines.length > 0 && !wantedMachines.includes(id)) continue;
    const reason = missing(arch) ?? unreachable(name, arch);
    if (reason !== undefined) console.error(`skipped: ${id}: ${reason}`);
    Deno.test({ name: id, ignore: reason !== undefined, fn: (t) => run(t, name, arch) });
  }
}

Deno.test({ name: "docs/kernels.md", ignore: Deno.args.length > 0, fn: writePage });

/** Fetches the kernel, unless it is in the cache; the reason when the archive does not have it. */
function unreachable(name: keyof typeof SUITES, arch: Arch): string | undefined {
  try {
    kernel(name, arch);
    return undefined;
  } catch (error) {
    return `no kernel: ${(error as Error).message.split("\n")[0]}`;
  }
}

async function run(t: Deno.TestContext, name: keyof typeof SUITES, arch: Arch): Promise<void> {
  const place = root(arch);
  const { version, release, ...linux } = kernel(name, arch);
  compileCalls();
  const own = steps.filter((step) => (step.arch ?? arch) === arch);
  const todo = own.map((step) => ({ name: step.name, command: step.command(place) }));
  todo.unshift({ name: "prepare", command: place.prepare });
  const results = await boot({ version, release, ...linux }, place, todo);
  const found = previousRun(name, arch, version) ?? { name, arch, version, release, seconds: {} };
  found.commit = commit();
  try {
    for (const step of own) {
      await t.step(step.name, () => {
        const result = results.find((each) => each.name === step.name);
        assert(result, `the machine ended before; its last words:\n${results.at(-1)!.output}`);
        writeOutput(found, step.name, result.output);
        assert.equal(result.code, 0, result.output);
        step.check(result.output, found);
        found.seconds[step.name] = result.seconds;
      });
    }
  } finally {
    writeRun(found);
  }
}

function compileCalls(): void {
  const args = ["run", "-A", "--no-check", "tests/vm/calls.ts", "compile", "dist/vm"];
  const { success, stderr } = new Deno.Command(Deno.execPath(), { args, cwd: checkout })
    .outputSync();
  assert(success, new TextDecoder().decode(stderr));
}
