/** The plugin's log: JSON lines on standard error; standard output is the result's. */
import { LOG_LEVELS, type LogLevel } from "./config.ts";

type Fields = Record<string, unknown>;

/** Writes lines of its level and above. */
export class Log {
  readonly #threshold: number;
  readonly #context: Fields;
  readonly #print: (line: string) => void;

  constructor(level: LogLevel, context: Fields, print: (line: string) => void = writeStderr) {
    this.#threshold = LOG_LEVELS.indexOf(level);
    this.#context = context;
    this.#print = print;
  }

  error = (msg: string, fields: Fields = {}): void => this.#write("error", msg, fields);
  warn = (msg: string, fields: Fields = {}): void => this.#write("warn", msg, fields);
  info = (msg: string, fields: Fields = {}): void => this.#write("info", msg, fields);
  debug = (msg: string, fields: Fields = {}): void => this.#write("debug", msg, fields);

  #write(level: LogLevel, msg: string, fields: Fields): void {
    if (LOG_LEVELS.indexOf(level) > this.#threshold) return;
    const line = { time: new Date().toISOString(), level, msg, ...this.#context, ...fields };
    this.#print(JSON.stringify(line) + "\n");
  }
}

function writeStderr(line: string): void {
  const bytes = new TextEncoder().encode(line);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // Standard error is closed, which must not fail a pod.
  }
}
