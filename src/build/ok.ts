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

const NONE: Count = { passed: 0, failed: 0, skipped: 0 };

/** The cluster tests that need nodes with a kubelet, beside those that need an API server alone. */
const WHOLE_CLUSTER = "tests/cluster/cluster_test.ts";

/** What failed, and the first words of why: told once more before the last line, as logs are cut in the middle. */
const failed: string[] = [];

interface Stage {
  name: string;
  /** @param atEnd print output whole when a command has ended, as others run at the same time */
  run(atEnd: boolean): Promise<Count>;
}

/** What is tried on the oldest kernel here; the rest takes minutes under emulation. */
const oldest = ["verifier", "calls", "packets", "lab"];

const deno = Deno.execPath();

/** Tests in one process. */
const suite = (name: string, ...paths: string[]): Stage => ({
  name,
  run: (atEnd) => tests(deno, paths, atEnd),
});

/** One turn after the other; in a turn, rows of stages beside each other. */
const turns: Stage[][][] = [
  [[
    { name: "fmt", run: () => check(deno, ["fmt", "--check", "--quiet"]) },
    { name: "lint", run: () => check(deno, ["lint", "--quiet"]) },
    { name: "check", run: () => types(deno) },
  ]],
  [[
    { name: "build", run: () => check(deno, ["run", "-A", "src/build/build.ts"]) },
  ]],
  // Nothing here goes by the clock: an emulated machine takes one of two processors, and one of these suites the other.
  [
    [
      suite("again", "tests/build"),
      suite("unit", ...unit),
      suite("bpf", "tests/bpf"),
      suite("etcd", "tests/etcd"),
      suite("page", "tests/page"),
      { name: "newest", run: newest },
    ],
    [
      suite("vm", "tests/vm", "--", "5.10-amd64", ...oldest),
      suite("api", ...testFiles("tests/cluster").filter((path) => path !== WHOLE_CLUSTER)),
    ],
  ],
  [[{ name: "netns", run: namespaces }]],
  [[suite("cluster", WHOLE_CLUSTER)]],
];

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

async function check(command: string, args: string[], atEnd = false): Promise<Count> {
  const { ok } = await spawn(command, args, atEnd);
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 };
}

/** What runs in a browser is checked by itself: types of the DOM change those of everything they are together with. */
async function types(deno: string, atEnd = false): Promise<Count> {
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
    await check(deno, ["check", "--quiet", ...others], atEnd),
    await check(deno, ["check", "--quiet", ...script], atEnd),
  );
}

/** Runs tests in one process. */
async function tests(deno: string, paths: string[], atEnd: boolean): Promise<Count> {
  const { ok, output } = await spawn(deno, ["test", "-A", "--no-check", ...paths], atEnd);
  failed.push(...failures(output));
  return summary(output, ok);
}

/** Runs each file of namespace tests in a process of its own. */
function namespaces(): Promise<Count> {
  const files = [...testFiles("tests/attack"), ...testFiles("tests/netns")];
  return inTwos(files, (path) => tests(deno, [path], true));
}

/** Runs what there is, two at the same time; returns the sum. */
export async function inTwos<T>(all: T[], one: (each: T) => Promise<Count>): Promise<Count> {
  const left = all.values();
  const run = async () => {
    let own = NONE; // not the sum of both, which the other changes while this waits
    for (const each of left) own = add(own, await one(each));
    return own;
  };
  const [a, b] = await Promise.all([run(), run()]);
  return add(a, b);
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
async function newest(atEnd: boolean): Promise<Count> {
  const folder = join(root, "dist", `deno-${newestDeno}`);
  const deno = join(folder, "node_modules/@deno/linux-x64-glibc/deno");
  if (!existsSync(deno)) {
    if (process.arch !== "x64") {
      console.log(`skipped: npm has no Deno for ${process.arch} that is looked for here`);
      return { ...NONE, skipped: 1 };
    }
    mkdirSync(folder, { recursive: true });
    const { ok } = await spawn("npm", [
      ...["install", "--silent", "--no-save", "--no-package-lock", "--prefix", folder],
      `@deno/linux-x64-glibc@${newestDeno}`,
    ]);
    if (!ok) return { ...NONE, failed: 1 };
  }
  return add(await types(deno, atEnd), await tests(deno, unit, atEnd));
}

function add(a: Count, b: Count): Count {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  };
}

/** Runs a turn, and adds a line for each of its stages. What is left behind on the machine counts as a failure. */
async function take(rows: readonly Stage[][], lines: string[]): Promise<Count> {
  const before = snapshot();
  let total = NONE;
  const atEnd = rows.length > 1;
  await Promise.all(rows.map(async (row) => {
    for (const { name, run } of row) {
      console.log(`\n── ${name}${atEnd ? " begins" : ""}`);
      const started = performance.now();
      const count = await run(atEnd);
      total = add(total, count);
      const seconds = ((performance.now() - started) / 1000).toFixed(0).padStart(4);
      const skipped = count.skipped ? `, ${count.skipped} skipped` : "";
      lines.push(
        `${name.padEnd(8)}${seconds} s  ${count.passed} passed, ${count.failed} failed${skipped}`,
      );
    }
  }));
  const left = leftovers(before, snapshot());
  if (left.length === 0) return total;
  const names = rows.flat().map(({ name }) => name).join(", ");
  const text = `left behind on the machine by ${names}:\n  ${left.join("\n  ")}`;
  console.log(text);
  failed.push(text);
  return add(total, { ...NONE, failed: 1 });
}

async function main(): Promise<void> {
  const at = process.argv.indexOf("--only");
  const only = at > 0 ? process.argv[at + 1]?.split(",") : undefined;
  let total = NONE;
  const lines: string[] = [];
  for (const turn of turns) {
    const rows = turn.map((row) => row.filter(({ name }) => only?.includes(name) ?? true))
      .filter((row) => row.length > 0);
    const count = await take(rows, lines);
    total = add(total, count);
    // Nothing after a failed build can say anything.
    if (rows.flat().some(({ name }) => name === "build") && count.failed > 0) break;
  }
  if (failed.length > 0) console.log(`\n── failed\n${failed.join("\n\n")}`);
  console.log(`\n${lines.join("\n")}\n`);
  const skipped = total.skipped ? `, ${total.skipped} skipped` : "";
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

if (import.meta.main) await main();
