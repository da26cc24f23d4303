/** Starting `pcnk lab serve` somewhere in the lab. */
import { tail } from "./agents.ts";
import { SERVER_PORT } from "./plan.ts";
import { identify, type ProcessId } from "./process.ts";
import { commandAt, type Place } from "./spawn.ts";
import { within } from "./wait.ts";

const READY_MS = 60_000;

/** A server to start. */
interface ServerOptions {
  /** Part of every answer. */
  name: string;
  place: Place;
  /** Takes its standard error. */
  log: string;
  /** Words that start pcnk. */
  command: string[];
  /** Called before it listens; undefined when it has ended already. */
  started(server: ProcessId | undefined): void;
}

/**
 * Starts a server and waits until it listens. It goes on when the caller ends.
 *
 * @throws Error with the end of its log when it ends, or does not listen in time; the signal's reason.
 */
export async function launchServer(options: ServerOptions, signal?: AbortSignal): Promise<void> {
  const { name, place, log, command } = options;
  const argv = [...command, "lab", "serve", "--name", name, "--port", String(SERVER_PORT)];
  const child = commandAt(place, argv, {
    log,
    detached: true,
    cwd: "/",
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  child.unref();
  options.started(identify(child.pid));
  const reader = child.stdout.getReader();
  try {
    const first = await within(READY_MS, "says nothing", reader.read(), signal);
    if (first.done) throw new Error(`ended with code ${(await child.status).code}`);
  } catch (error) {
    signal?.throwIfAborted();
    const reason = (error as Error).message;
    throw new Error(`the server in ${name} ${reason}; its log ends:\n${tail(log)}`);
  } finally {
    await reader.cancel().catch(() => {});
  }
}
