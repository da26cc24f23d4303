/** Keeps agents away while a node is being cleaned up: ends the one that runs, and holds the lock that another would want. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LockedError, lockFile } from "../src/node/lock.ts";
import { InstallError } from "./problems.ts";

/** Milliseconds that an agent has for its end, and between looks. */
const patienceMs = 10_000;
const lookMs = 50;

/**
 * Holds the agent's lock; undefined where there is no state directory, and so no agent.
 * @throws {InstallError} when somebody holds it who cannot be ended from here
 */
export async function holdOffAgent(stateDir: string): Promise<Disposable | undefined> {
  const path = join(stateDir, "agent.lock");
  try {
    Deno.lstatSync(stateDir);
  } catch {
    return undefined;
  }
  mkdirSync(stateDir, { recursive: true });
  const until = Date.now() + patienceMs;
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
    await new Promise((resolve) => setTimeout(resolve, lookMs));
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

/** The agent's process; undefined when the number in the lock is not one's here, as that of an agent in a container. */
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
    "delete that (pcnk manifest | kubectl delete -f -), which cleans the node up as well";
}
