/** The agent's log: JSON lines on standard error (pino). */
import { type Logger, pino } from "pino";

export type Log = Logger;

/** @param level `silent` logs nothing */
export function createLog(level: string, node: string): Log {
  return pino({
    level,
    base: { node },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  }, { write });
}

const encoder = new TextEncoder();

/** Synchronous, so that the last words before a crash are there too. */
function write(line: string) {
  const bytes = encoder.encode(line);
  try {
    for (let done = 0; done < bytes.length;) done += Deno.stderr.writeSync(bytes.subarray(done));
  } catch {
    // Nobody reads the log any more; the data plane matters more.
  }
}
