/** What all calls have in common: where they read and write, their version, and how one ends. */
import type { JsonObject } from "../src/node/files.ts";
import { parseInput, readText, VERSIONS } from "./config.ts";
import type { Environment } from "./env.ts";
import { CniError, CODE, errorResult } from "./errors.ts";
import { Log } from "./log.ts";

const NEWEST = VERSIONS[VERSIONS.length - 1]!;

/** What a call reads and writes; tests give their own. */
export interface Io {
  env: Environment;
  /** Fills a buffer from standard input and returns how much, or null at the end. */
  read(buffer: Uint8Array): number | null;
  /** Writes to standard output. */
  print(text: string): void;
  /** Writes to standard error; by default that of the process. */
  log?: (line: string) => void;
  /** Milliseconds since the call began; by default since the process did. */
  now?: () => number;
}

const processIo: Io = {
  env: (name) => {
    try {
      return Deno.env.get(name);
    } catch {
      return "\ufffd/"; // not UTF-8: no check lets this pass
    }
  },
  // `CNI_COMMAND=VERSION pcnk` at a terminal: no configuration comes.
  read: (buffer) => Deno.stdin.isTerminal() ? null : Deno.stdin.readSync(buffer),
  print: (text) => {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  },
};

/** One call, as far as it is parsed. */
export class Call {
  /** Version of the result: the request's where it has one. */
  cniVersion: string = NEWEST;
  log: Log;

  constructor(readonly io: Io = processIo) {
    this.log = new Log("info", {}, io.log);
  }

  /** Reads standard input; its errors are thrown when the result is called. */
  readInput(): () => JsonObject {
    try {
      const text = readText(this.io.read);
      // By hand, without a configuration.
      if (text.trim() === "" && this.io.env("CNI_COMMAND") === "VERSION") return () => ({});
      const input = parseInput(text);
      this.cniVersion = statedVersion(input) ?? NEWEST;
      return () => input;
    } catch (error) {
      return () => {
        throw error;
      };
    }
  }

  /** Prints what `serve` returns, or its error; returns the exit code. */
  answer(serve: () => string | undefined, explain = internal): number {
    try {
      const text = serve();
      if (text !== undefined) this.io.print(`${text}\n`);
      return 0;
    } catch (error) {
      const known = error instanceof CniError ? error : explain(error);
      const { code, message, details } = known;
      this.log.error(message, { code, details });
      try {
        this.io.print(`${JSON.stringify(errorResult(known, this.cniVersion))}\n`);
      } catch {
        // The runtime is gone; the exit code remains.
      }
      return 1;
    }
  }
}

/** An error that is none of the spec's cases. */
export function internal(error: unknown): CniError {
  return new CniError(CODE.INTERNAL, error instanceof Error ? error.message : String(error));
}

function statedVersion({ cniVersion }: JsonObject): string | undefined {
  const good = typeof cniVersion === "string" && /^\d[\w.+-]{0,31}$/.test(cniVersion);
  return good ? cniVersion : undefined;
}
