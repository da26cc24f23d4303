/** Ctrl-C and its relatives for commands that have something to clean up. */
import process from "node:process";

const SIGNALS = { SIGINT: 2, SIGHUP: 1, SIGTERM: 15 } as const;

/** The reason of an abort by a signal. */
export class SignalError extends Error {
  override readonly name = "SignalError";
  constructor(readonly signal: keyof typeof SIGNALS) {
    super(`stopped by ${signal}`);
  }
}

/**
 * Runs `work` with an AbortSignal that SIGINT, SIGTERM and SIGHUP set off; the work then cleans up and throws the signal's
 * reason. The exit code is 128 + the signal's number, as shells count. Signals that follow change nothing: half a
 * clean-up would be worse than a slow one.
 */
export async function untilSignal(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const control = new AbortController();
  const listeners = (Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]).map((name) => {
    const listener = () => {
      if (control.signal.aborted) return console.error("still cleaning up");
      control.abort(new SignalError(name));
    };
    Deno.addSignalListener(name, listener);
    return () => Deno.removeSignalListener(name, listener);
  });
  try {
    await work(control.signal);
  } catch (error) {
    if (!control.signal.aborted) throw error;
    const { signal, message } = control.signal.reason as SignalError;
    console.error(`pcnk: ${message}`);
    process.exitCode = 128 + SIGNALS[signal];
  } finally {
    for (const remove of listeners) remove();
  }
}
