/** A bounded end: what is attached and pinned stays, so that an agent may end anywhere. */
import type { Log } from "./log.ts";

/** Milliseconds from the signal on. Supervisors wait longer before they kill: systemd 90 s, the DaemonSet 60 s. */
const stopMs = 10_000;

let stopping = "the agent";

/** Stops a part with the stack. */
export function onStop(stack: AsyncDisposableStack, part: string, stop: () => unknown): void {
  stack.defer(async () => {
    stopping = part;
    await stop();
    stopping = "the agent";
  });
}

/** Ends the process when it has not ended some seconds after the signal, and logs the part that did not stop. */
export function boundStop(signal: AbortSignal, log: Log): void {
  signal.addEventListener("abort", () => {
    const timer = setTimeout(() => {
      const text = `${stopping} did not stop within ${
        stopMs / 1000
      } s; the process ends, the data plane stays`;
      log.error({ event: "StopTimeout", part: stopping }, text);
      Deno.exit(0);
    }, stopMs);
    Deno.unrefTimer(timer); // an end in time is not delayed
  }, { once: true });
}
