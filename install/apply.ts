/** Carries out steps. Files are replaced by renaming, also an executable that is running. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { writeSysctl } from "../src/linux/sysctl.ts";
import { replaceFile, replaceWith } from "../src/node/files.ts";
import { hashFile, hashText } from "./machine.ts";
import { type InstallRecord, RECORD, renderRecord } from "./record.ts";
import { describeStep, type Step } from "./steps.ts";

/** A step that failed. */
export class StepError extends Error {
  override readonly name = "StepError";
  constructor(readonly step: Step, readonly reason: string) {
    super(`cannot ${describeStep(step)}: ${reason}`);
  }
}

interface Target {
  /** Prefix of all paths; empty for this machine. */
  root: string;
  record: InstallRecord;
  /** Carries out a step; for tests. */
  act?: (step: Step, root: string) => void;
}

/**
 * Carries out the steps of an installation and keeps the record: a step is on record before it is carried out, so that
 * the record covers what a killed installation left.
 * @throws {StepError} at the first that fails
 */
export function applyInstall(steps: readonly Step[], target: Target, done: (step: Step) => void) {
  const { root, record, act = carryOut } = target;
  if (steps.length === 0) return;
  if (steps.some(isRestart)) record.restart = true;
  for (const step of steps) {
    // The record's own directories are made with it.
    if (step.do === "make-directory" && RECORD.startsWith(`${step.path}/`)) enter(step, target);
  }
  writeRecord(target);
  for (const step of steps) {
    if (enter(step, target)) writeRecord(target);
    act(step, root);
    if (isRestart(step)) {
      delete record.restart;
      writeRecord(target);
    }
    done(step);
  }
}

const isRestart = (step: Step) => step.do === "run" && step.restart === true;

/** One step. @throws {StepError} */
export function carryOut(step: Step, root: string): void {
  try {
    perform(step, (path) => root === "" ? path : join(root, path));
  } catch (error) {
    if (step.do === "run" && step.optional) return;
    throw new StepError(step, error instanceof Error ? error.message : String(error));
  }
}

function perform(step: Step, at: (path: string) => string): void {
  switch (step.do) {
    case "make-directory":
      return void mkdirSync(at(step.path), { recursive: true, mode: 0o755 });
    case "write-file":
      return replaceFile(at(step.path), step.text, step.mode);
    case "copy-file":
      return replaceWith(at(step.path), (fresh) => {
        copyFileSync(step.inside ? at(step.from) : step.from, fresh);
        chmodSync(fresh, step.mode);
        sync(fresh);
      });
    case "make-link":
      return replaceWith(at(step.path), (fresh) => symlinkSync(step.target, fresh));
    case "remove-file":
      return rmSync(at(step.path), { force: true });
    case "remove-directory":
      return removeIfEmpty(at(step.path));
    case "set-sysctl":
      return writeSysctl(step.name, step.value);
    case "run":
      return run(step.command, step.input);
  }
}

function sync(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    const { code } = error as { code?: string };
    // EBUSY, EROFS: something is mounted there, as in a container.
    if (!["ENOENT", "ENOTEMPTY", "EEXIST", "EBUSY", "EROFS"].includes(code ?? "")) throw error;
  }
}

/** Runs a command, a minute at most; the error has its output. */
function run([program, ...args]: readonly string[], input?: string): void {
  const { error, status, stderr, stdout } = spawnSync(program!, args, {
    encoding: "utf8",
    timeout: 60_000,
    input,
  });
  if (error) throw error;
  if (status === 0) return;
  throw new Error(`${program} ended with ${status}: ${(stderr || stdout).trim().slice(0, 500)}`);
}

/** Enters what a step is about to make into the record; returns whether that changed it. */
function enter(step: Step, { record, root }: Target): boolean {
  switch (step.do) {
    case "make-directory":
      if (record.directories.includes(step.path)) return false;
      record.directories.push(step.path);
      return true;
    case "write-file":
      if (step.shared) delete record.files[step.path];
      else record.files[step.path] = hashText(step.text);
      return true;
    case "copy-file":
      record.files[step.path] = hashFile(step.inside ? join(root, step.from) : step.from);
      return true;
    case "make-link":
      record.links[step.path] = step.target;
      return true;
    case "set-sysctl": {
      if (step.before === undefined) return false;
      // `pcnk uninstall` restores the value before the first installation.
      const before = record.sysctls[step.name]?.before ?? step.before;
      record.sysctls[step.name] = { before, after: step.value };
      return true;
    }
    default:
      return false;
  }
}

function writeRecord({ root, record }: Target): void {
  const path = root === "" ? RECORD : join(root, RECORD);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  replaceFile(path, renderRecord(record));
}
