/**
 * Kernel parameters that were changed, and what they were before: `<stateDir>/sysctls.json`, for the day when pcnk is taken off the node.
 * Like the parameters themselves the file does not outlive a reboot (with the default state directory).
 */
import { join } from "node:path";
import { writeStateFile } from "../node/state_files.ts";

/** A parameter's value before the first change, and after the last one. */
export interface SysctlChange {
  before: string;
  after: string;
}

const FILE = "sysctls.json";

/** What was changed, by name with slashes; nothing when there is no such file or it is damaged. */
export function readSysctlRecord(stateDir: string): Record<string, SysctlChange> {
  const changes: Record<string, SysctlChange> = {};
  try {
    const value = JSON.parse(Deno.readTextFileSync(join(stateDir, FILE)));
    for (const [name, change] of Object.entries(value ?? {})) {
      const { before, after } = change as Partial<SysctlChange>;
      if (typeof before === "string" && typeof after === "string") {
        changes[name] = { before, after };
      }
    }
  } catch {
    // Then nothing is known, and parameters stay as they are.
  }
  return changes;
}

/** Enters a change that is about to be made. */
export function rememberSysctl(stateDir: string, name: string, change: SysctlChange): void {
  const changes = readSysctlRecord(stateDir);
  const before = changes[name]?.before ?? change.before;
  writeStateFile(stateDir, FILE, { ...changes, [name]: { before, after: change.after } });
}
