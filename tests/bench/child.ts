/** Programs of this folder in processes of their own. */
import { join } from "node:path";
import { root } from "../../src/build/steps.ts";
import { output } from "./control_plane.ts";

/**
 * Runs one to its end and returns what it prints, JSON.
 * @param netns path of a network namespace to run it in
 * @throws {Error} with its own words when it fails
 */
export async function runChild<T>(
  program: string,
  words: readonly string[],
  { netns = "/proc/self/ns/net", signal }: { netns?: string; signal: AbortSignal },
): Promise<T> {
  const file = join(root, "tests/bench", program);
  const command = [Deno.execPath(), "run", "-A", "--no-check", file, ...words];
  const { success, stdout, stderr } = await output(netns, command, undefined, signal);
  signal.throwIfAborted();
  if (!success) throw new Error(`${program}: ${stderr}`);
  return JSON.parse(stdout);
}
