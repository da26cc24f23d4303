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

/** Until disposed of: ends the process some seconds after the signal, and logs the part that did not stop. */
export function boundStop(signal: AbortSignal, log: Log): Disposable {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const bound = () => {
    timer = setTimeout(() => {
      const text = `${stopping} did not stop within ${stopMs / 1000} s`;
      log.error({ event: "StopTimeout", part: stopping }, `${text}; the data plane stays`);
      Deno.exit(0);
    }, stopMs);
  };
  signal.addEventListener("abort", bound, { once: true });
  return {
    [Symbol.dispose]() {
      signal.removeEventListener("abort", bound);
      clearTimeout(timer);
    },
  };
}
