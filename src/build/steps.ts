/**
 * Incremental build steps. A step runs when the hash of its inputs differs from the one its last success left behind,
 * or when an output is gone.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The project's root folder. */
export const root = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");
const stamps = join(root, "dist", ".stamps");

/** All files below `paths` (relative to the root; files or folders), sorted, tests left out. */
export function sources(...paths: string[]): string[] {
  const found: string[] = [];
  const walk = (path: string) => {
    if (statSync(join(root, path)).isDirectory()) {
      for (const name of readdirSync(join(root, path))) walk(join(path, name));
    } else if (!path.endsWith("_test.ts") && !path.includes("/testdata/")) {
      found.push(path);
    }
  };
  for (const path of paths) if (existsSync(join(root, path))) walk(path);
  return found.sort();
}

/** What makes a step: the files and the values it depends on, the files it makes, and how. */
interface Step {
  name: string;
  /** Relative to the root. */
  inputs: string[];
  /** Anything else the result depends on: tool versions, flags, the commit. */
  values?: string[];
  /** Relative to the root. */
  outputs: string[];
  run(): void | Promise<void>;
}

/** Runs `step` unless nothing it depends on has changed. Throws what the step throws. */
export async function build(step: Step): Promise<void> {
  const hash = createHash("sha256");
  for (const value of step.values ?? []) hash.update(`${value}\0`);
  for (const path of step.inputs) hash.update(`${path}\0`).update(readFileSync(join(root, path)));
  const wanted = hash.digest("hex");
  const stamp = join(stamps, step.name);
  const fresh = existsSync(stamp) && readFileSync(stamp, "utf8") === wanted &&
    step.outputs.every((path) => existsSync(join(root, path)));
  if (fresh) {
    console.error(`  unchanged  ${step.name}`);
    return;
  }
  const started = performance.now();
  await step.run();
  mkdirSync(stamps, { recursive: true });
  writeFileSync(stamp, wanted);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.error(`  built      ${step.name} (${seconds} s)`);
}

/** A problem the person who builds can do something about: shown without a stack trace. */
export class BuildError extends Error {}

/** Runs a command in the project's root; throws BuildError with what it printed when it fails. */
export function run(
  command: string,
  args: string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): string {
  let result: Deno.CommandOutput;
  try {
    result = new Deno.Command(command, { args, cwd: root, stdin: "null", ...options }).outputSync();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new BuildError(
        `${command} is not installed; src/build/setup.sh installs what the build needs`,
      );
    }
    throw error;
  }
  const text = new TextDecoder();
  if (!result.success) {
    const output = text.decode(result.stderr) + text.decode(result.stdout);
    throw new BuildError(
      `${command} ${args.join(" ")} failed with ${result.code}:\n${output.trim()}`,
    );
  }
  return text.decode(result.stdout).trim();
}
