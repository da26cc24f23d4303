/**
 * `deno task ok`: everything that CI runs, in one gate. Its last line is `N passed, N failed[, N skipped]`: the static
 * checks count as one each, and so does a suite that left something behind on the machine.
 *
 *   ok.ts [--only NAME,NAME]     e.g. --only unit,bpf
 */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { leftovers, snapshot } from "./leftovers.ts";
import { root, sources } from "./steps.ts";

/** The newest Deno that the checks are known to pass on; NEWEST_DENO=latest asks for a newer one. */
const newestDeno = process.env.NEWEST_DENO ?? "2.9.6";

const code = ["main.ts", "src", "cni", "install", "tests"].filter((path) =>
  existsSync(join(root, path))
);
const unit = [
  ...code.filter((path) => path !== "tests" && path !== "main.ts"),
  ...["tests/bench", "tests/pictures"].filter((path) => existsSync(join(root, path))),
];

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

/** What failed, and the first words of why: told once more before the last line, as logs are cut in the middle. */
const failed: string[] = [];

interface Stage {
  name: string;
  run(): Promise<Count>;
}

/** What is tried on the oldest kernel here; the rest takes minutes under emulation. */
const oldest = ["verifier", "calls", "packets", "lab"];

const stages: Stage[] = [
  { name: "fmt", run: () => check(Deno.execPath(), ["fmt", "--check", "--quiet"]) },
  { name: "lint", run: () => check(Deno.execPath(), ["lint", "--quiet"]) },
  { name: "check", run: () => types(Deno.execPath()) },
  { name: "build", run: () => check(Deno.execPath(), ["run", "-A", "src/build/build.ts"]) },
  { name: "again", run: () => tests(Deno.execPath(), ["tests/build"]) },
  { name: "unit", run: () => tests(Deno.execPath(), unit) },
  { name: "bpf", run: () => tests(Deno.execPath(), ["tests/bpf"]) },
  { name: "etcd", run: () => tests(Deno.execPath(), ["tests/etcd"]) },
  { name: "netns", run: () => tests(Deno.execPath(), namespaceTests(), 2) },
  { name: "page", run: () => tests(Deno.execPath(), ["tests/page"]) },
  { name: "cluster", run: () => tests(Deno.execPath(), ["tests/cluster"]) },
  { name: "vm", run: () => tests(Deno.execPath(), ["tests/vm", "--", "5.10-amd64", ...oldest]) },
  { name: "newest", run: newest },
];

const namespaceTests = () => [...testFiles("tests/attack"), ...testFiles("tests/netns")];

/** Files of tests in a folder, from the end: of the namespace tests the longest come first, and none works alone in the end. */
function testFiles(folder: string): string[] {
  return readdirSync(join(root, folder)).filter((name) => name.endsWith("_test.ts")).sort()
    .reverse().map((name) => `${folder}/${name}`);
}

/** Runs a command; its output is printed as it comes, or whole at its end when others run at the same time. */
async function spawn(
  command: string,
  args: string[],
  atEnd = false,
): Promise<{ ok: boolean; output: string }> {
  const child = new Deno.Command(command, {
    args,
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let output = "";
  const copy = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      output += text;
      if (!atEnd) process.stdout.write(text);
    }
  };
  const [status] = await Promise.all([child.status, copy(child.stdout), copy(child.stderr)]);
  if (atEnd) process.stdout.write(output);
  return { ok: status.success, output };
}

async function check(command: string, args: string[]): Promise<Count> {
  const { ok } = await spawn(command, args);
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 };
}

/** What runs in a browser is checked by itself: types of the DOM change those of everything they are together with. */
async function types(deno: string): Promise<Count> {
  const page = "src/ui/page/";
  const others = code.flatMap((path) =>
    path !== "src" ? [path] : [
      ...readdirSync(join(root, "src")).filter((name) => name !== "ui").map((name) =>
        `src/${name}`
      ),
      ...readdirSync(join(root, "src/ui")).filter((name) => name.endsWith(".ts"))
        .map((name) => `src/ui/${name}`),
    ]
  );
  const script = sources(page).filter((path) => path.endsWith(".ts"));
  return add(
    await check(deno, ["check", "--quiet", ...others]),
    await check(deno, ["check", "--quiet", ...script]),
  );
}

/** Runs tests in one process, or with `atOnce` each file in a process of its own, so many at the same time. */
async function tests(deno: string, paths: string[], atOnce?: number): Promise<Count> {
  const before = snapshot();
  let count: Count = { passed: 0, failed: 0, skipped: 0 };
  const runs = (atOnce === undefined ? [paths] : paths.map((path) => [path])).values();
  const run = async () => {
    for (const words of runs) {
      const args = ["test", "-A", "--no-check", ...words];
      const { ok, output } = await spawn(deno, args, atOnce !== undefined);
      count = add(count, summary(output, ok));
      failed.push(...failures(output));
    }
  };
  await Promise.all(Array.from({ length: atOnce ?? 1 }, run));
  const left = leftovers(before, snapshot());
  if (left.length > 0) {
    const told = `left behind on the machine:\n  ${left.join("\n  ")}`;
    console.log(told);
    failed.push(told);
    count.failed += 1;
  }
  return count;
}

/** Reads `ok | 5 passed (2 steps) | 0 failed | 1 ignored (3ms)`; a run without it has failed as a whole. */
export function summary(output: string, ok: boolean): Count {
  const line = output.match(/^(?:ok|FAILED) \| .*$/gm)?.at(-1) ?? "";
  const read = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(line)?.[1] ?? 0);
  const count = { passed: read("passed"), failed: read("failed"), skipped: read("ignored") };
  if (!ok && count.failed === 0) count.failed = 1;
  return count;
}

/** Lines of a failure that are printed again, and characters of each. */
const FAILURE_LINES = 16;
const FAILURE_WIDTH = 240;

/** The heads of Deno's errors below ` ERRORS `: a test's name, where it is, and the beginning of its error. */
export function failures(output: string): string[] {
  return output.split(/^ ERRORS $/m).slice(1).flatMap((part) => {
    const [errors = ""] = part.split(/^ FAILURES $/m);
    return errors.split(/\n(?=\S.* => \.{0,2}\/)/).filter((text) => text.trim() !== "").map((
      text,
    ) =>
      text.trim().split("\n").slice(0, FAILURE_LINES)
        .map((line) => line.slice(0, FAILURE_WIDTH)).join("\n")
    );
  });
}

/** Checks and unit tests on the newest Deno, so that the pinned version can move. */
async function newest(): Promise<Count> {
  const folder = join(root, "dist", `deno-${newestDeno}`);
  const deno = join(folder, "node_modules/@deno/linux-x64-glibc/deno");
  if (!existsSync(deno)) {
    if (process.arch !== "x64") {
      console.log(`skipped: npm has no Deno for ${process.arch} that is looked for here`);
      return { passed: 0, failed: 0, skipped: 1 };
    }
    mkdirSync(folder, { recursive: true });
    const { ok } = await spawn("npm", [
      ...["install", "--silent", "--no-save", "--no-package-lock", "--prefix", folder],
      `@deno/linux-x64-glibc@${newestDeno}`,
    ]);
    if (!ok) return { passed: 0, failed: 1, skipped: 0 };
  }
  const checked = await types(deno);
  const tested = await tests(deno, unit);
  return add(checked, tested);
}

function add(a: Count, b: Count): Count {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  };
}

async function main(): Promise<void> {
  const at = process.argv.indexOf("--only");
  const only = at > 0 ? process.argv[at + 1]?.split(",") : undefined;
  let total: Count = { passed: 0, failed: 0, skipped: 0 };
  const lines: string[] = [];
  for (const { name, run } of stages) {
    if (only && !only.includes(name)) continue;
    console.log(`\n── ${name}`);
    const started = performance.now();
    const count = await run();
    total = add(total, count);
    const seconds = ((performance.now() - started) / 1000).toFixed(0).padStart(4);
    const skipped = count.skipped ? `, ${count.skipped} skipped` : "";
    lines.push(
      `${name.padEnd(8)}${seconds} s  ${count.passed} passed, ${count.failed} failed${skipped}`,
    );
    // Nothing after a failed build can say anything.
    if (name === "build" && count.failed > 0) break;
  }
  if (failed.length > 0) console.log(`\n── failed\n${failed.join("\n\n")}`);
  console.log(`\n${lines.join("\n")}\n`);
  const skipped = total.skipped ? `, ${total.skipped} skipped` : "";
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

if (import.meta.main) await main();
