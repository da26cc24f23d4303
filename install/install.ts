/** `pcnk install`: plans, reports, carries out. */
import { existsSync, statSync } from "node:fs";
import { basename } from "node:path";
import { applyInstall } from "./apply.ts";
import { hashFile, realMachine } from "./machine.ts";
import type { SourceFile } from "./builder.ts";
import { type InstallOptions, planInstall } from "./plan.ts";
import { readRecord } from "./record.ts";
import { describeStep, InstallError, type Plan } from "./steps.ts";

interface RunOptions extends Omit<InstallOptions, "executable"> {
  /** Prefix of all paths: a system that does not run. Empty for this machine. */
  root: string;
  dryRun: boolean;
  /** Gets each line for the user. */
  say: (line: string) => void;
}

/**
 * Installs pcnk.
 * @throws {InstallError} before anything is changed, when it could not work; also with `dryRun`
 * @throws {StepError} when a step does not work
 */
export function install(options: RunOptions): void {
  const { root, dryRun, say } = options;
  if (root !== "" && !existsSync(root)) {
    throw new InstallError(`--root ${root}: there is no such directory`);
  }
  const machine = realMachine(root);
  const record = readRecord(machine);
  const plan = planInstall(machine, record, { ...options, executable: ownExecutable() });
  if (dryRun) tell(plan, say);
  if (plan.problems.length > 0) throw new InstallError(plan.problems.join("\n"));
  if (dryRun) return;
  if (Deno.uid() !== 0 && root === "") {
    throw new InstallError("pcnk install writes to the system: run it as root");
  }
  applyInstall(plan.steps, { root, record }, (step) => say(describeStep(step)));
  for (const note of plan.notes) say(`note: ${note}`);
  say(plan.steps.length === 0 ? "installed already: nothing to do" : "installed");
}

/** What is missing first: the steps are of no use before it is there. */
function tell(plan: Plan, say: (line: string) => void): void {
  for (const problem of plan.problems) say(`missing: ${problem}`);
  for (const step of plan.steps) say(`would ${describeStep(step)}`);
  for (const note of plan.notes) say(`note: ${note}`);
  if (plan.steps.length === 0) say("installed already: nothing to do");
}

/** This program's own file. */
function ownExecutable(): SourceFile {
  const path = Deno.execPath();
  if (/^deno/.test(basename(path))) {
    throw new InstallError(
      "pcnk runs from its source: build it (deno task build) and run dist/pcnk",
    );
  }
  return { path, size: statSync(path).size, hash: hashFile(path) };
}
