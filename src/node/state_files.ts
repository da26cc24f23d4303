/** What the agent tells others through files of its state directory. */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Writes JSON for root only; readers see the old content or the new one, never half of it. */
export function writeStateFile(stateDir: string, name: string, value: unknown) {
  const path = join(stateDir, name);
  const fresh = `${path}.${Deno.pid}`;
  Deno.writeTextFileSync(fresh, JSON.stringify(value) + "\n", { mode: 0o600 });
  Deno.renameSync(fresh, path);
}

/** Whether there is such a file. */
export function isStateFile(stateDir: string, name: string): boolean {
  return existsSync(join(stateDir, name));
}

/** Removes a file if it is there. */
export function removeStateFile(stateDir: string, name: string) {
  try {
    Deno.removeSync(join(stateDir, name));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
