/** The agent's log: JSON lines on standard error (pino). */
import { type Logger, type LoggerOptions, pino } from "pino";

export type Log = Logger;

type LogHook = NonNullable<NonNullable<LoggerOptions["hooks"]>["logMethod"]>;

/** pino's number for `info`. */
const infoLevel = 30;

/** Called with each line that has an `event`: those that become Events on the Node. */
export type EventListener = (event: {
  reason: string;
  message: string;
  type: "Normal" | "Warning";
}) => void;

/** @param level `silent`: no lines and no events */
export function createLog(level: string, node: string, listener?: EventListener): Log {
  return pino({
    level,
    base: { node },
    hooks: { logMethod: listener && reportingTo(listener) },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  }, { write });
}

/** Passes a line on, and its event to `listener`. */
function reportingTo(listener: EventListener): LogHook {
  return function (args, method, level) {
    const [fields, text] = args as unknown as [unknown, unknown];
    if (level >= infoLevel && typeof fields === "object" && fields !== null && "event" in fields) {
      const { event, object } = fields as { event: string; object?: string };
      const message = typeof object === "string" ? `${object}: ${text}` : String(text);
      listener({ reason: event, message, type: level > infoLevel ? "Warning" : "Normal" });
    }
    return method.apply(this, args);
  };
}

const encoder = new TextEncoder();

/** Synchronous, so that the last lines before a crash are there too. */
function write(line: string) {
  const bytes = encoder.encode(line);
  try {
    for (let done = 0; done < bytes.length;) done += Deno.stderr.writeSync(bytes.subarray(done));
  } catch {
    // The reader of the log is gone; the data plane matters more.
  }
}
