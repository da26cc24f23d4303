/** VERSION: works with a runtime of any version, and has an entry of its own, which loads nothing that ADD needs. */
import { Call, type Io } from "./call.ts";
import { VERSIONS } from "./config.ts";

/** Answers VERSION; returns the exit code. */
export function runVersion(io?: Io): number {
  const call = new Call(io);
  return call.answer(() => versionResult(call, call.readInput()));
}

/** The result, in the version of the request where it has one. */
export function versionResult(call: Call, input: () => unknown): string {
  input(); // throws what is wrong with it
  return JSON.stringify({ cniVersion: call.cniVersion, supportedVersions: VERSIONS });
}
