/**
 * Keeps the agent running through what would end a process by default: signals other than those that stop it, and an error
 * that no part of the agent expected.
 */
import { isWhole, type StateName, statePath, writeState } from "../node/state_files.ts";
import type { Log } from "./log.ts";

/** What ends a process by default, and is sent to reload, rotate or dump by habit. */
const harmless = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGIO"] as const;

/** Until it is disposed of. */
export function guardProcess(log: Log): Disposable {
  const failed = (event: ErrorEvent | PromiseRejectionEvent) => {
    event.preventDefault();
    const err = "reason" in event ? event.reason : event.error;
    log.error(
      { event: "AgentFault", err },
      "unexpected error; the agent goes on: report it, please",
    );
  };
  const noted = () => log.info("signal ignored: settings and manifests are followed anyway");
  const types = ["error", "unhandledrejection"] as const;
  for (const type of types) addEventListener(type, failed as (event: Event) => void);
  for (const signal of harmless) Deno.addSignalListener(signal, noted);
  return {
    [Symbol.dispose]() {
      for (const type of types) removeEventListener(type, failed as (event: Event) => void);
      for (const signal of harmless) Deno.removeSignalListener(signal, noted);
    },
  };
}

/** Milliseconds until a state file that could not be written is written again. */
const againMs = 5000;

/** Milliseconds between looks whether it is still there. */
const lookMs = 1000;

/**
 * Writes a state file that only other commands read. A full disk is logged, and does not end the agent: the file is
 * written as soon as it can be, and again when it is removed or damaged, until this is disposed of.
 */
export function keepState<N extends StateName>(
  stateDir: string,
  name: N,
  value: Parameters<typeof writeState<N>>[2],
  log: Log,
): Disposable {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let logged = false;
  const write = () => {
    try {
      writeState(stateDir, name, value);
      if (logged) log.info({ event: "StateDir" }, `${statePath(stateDir, name)} is written now`);
      logged = false;
      timer = setTimeout(look, lookMs);
    } catch (error) {
      const text = `${statePath(stateDir, name)} cannot be written: ${(error as Error).message}; ` +
        "commands on this node lack it until it can";
      if (!logged) log.warn({ event: "StateDir" }, text);
      logged = true;
      timer = setTimeout(write, againMs);
    }
  };
  const look = () => {
    if (isWhole(stateDir, name)) timer = setTimeout(look, lookMs);
    else write();
  };
  write();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
