/** Keeps agents from running while a node is cleaned up: ends the one that runs, and holds the agent's lock. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LockedError, lockFile } from "../src/node/lock.ts";
import { InstallError } from "./steps.ts";

/** Milliseconds that an agent has to end, and between attempts to take the lock. */
const graceMs = 10_000;
const retryMs = 50;

/**
 * Holds the agent's lock; undefined where there is no state directory, and so no agent.
 * @throws {InstallError} when the process that holds it cannot be ended from here
 */
export async function holdOffAgent(stateDir: string): Promise<Disposable | undefined> {
  const path = join(stateDir, "agent.lock");
  try {
    Deno.lstatSync(stateDir);
  } catch {
    return undefined;
  }
  mkdirSync(stateDir, { recursive: true });
  const until = Date.now() + graceMs;
  for (let ended = 0;;) {
    const lock = tryLock(path);
    if (lock !== undefined) return lock;
    const late = Date.now() > until;
    if (ended === 0 || late) {
      const pid = agentProcess(path);
      if (pid === undefined || late && ended > 1) throw new InstallError(elsewhere(path));
      Deno.kill(pid, late ? "SIGKILL" : "SIGTERM");
      ended++;
    }
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

function tryLock(path: string): Disposable | undefined {
  try {
    const lock = lockFile(path);
    return { [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    if (error instanceof LockedError) return undefined;
    throw error;
  }
}

/** The agent's process; undefined when the lock's number is no agent's here, as that of an agent in a container. */
function agentProcess(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, "utf8").trim());
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return words.slice(0, 6).includes("agent") && /(^|\/)(pcnk|deno)$/.test(words[0]!)
      ? pid
      : undefined;
  } catch {
    return undefined;
  }
}

function elsewhere(path: string): string {
  return `an agent runs on this node that cannot be ended from here (it holds ${path}); if it is a DaemonSet's, ` +
    "delete that (pcnk manifest | kubectl delete -f -), which cleans the node up, too";
}
