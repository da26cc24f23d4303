/** The plugin's log: JSON lines on standard error. Standard output belongs to the result. */
import { LOG_LEVELS, type LogLevel } from "./config.ts";

type Fields = Record<string, unknown>;

/** Writes what is at least as grave as its level. */
export class Log {
  readonly #threshold: number;

  constructor(
    level: LogLevel,
    private readonly context: Fields,
    private readonly write: (line: string) => void = writeStderr,
  ) {
    this.#threshold = LOG_LEVELS.indexOf(level);
  }

  error = (msg: string, fields: Fields = {}): void => this.#write("error", msg, fields);
  warn = (msg: string, fields: Fields = {}): void => this.#write("warn", msg, fields);
  info = (msg: string, fields: Fields = {}): void => this.#write("info", msg, fields);
  debug = (msg: string, fields: Fields = {}): void => this.#write("debug", msg, fields);

  #write(level: LogLevel, msg: string, fields: Fields): void {
    if (LOG_LEVELS.indexOf(level) > this.#threshold) return;
    const line = { time: new Date().toISOString(), level, msg, ...this.context, ...fields };
    this.write(JSON.stringify(line) + "\n");
  }
}

function writeStderr(line: string): void {
  const bytes = new TextEncoder().encode(line);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // Nobody reads it; that must not fail a pod.
  }
}
