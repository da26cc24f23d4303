/** Running the executable under test as a user does. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { selfCommand } from "../../src/lab/executable.ts";

const built = fileURLToPath(new URL("../../dist/pcnk", import.meta.url));

/** Words that start pcnk: PCNK from the environment, dist/pcnk, or the source when that is not built. */
export const pcnk: string[] = Deno.env.get("PCNK")?.split(" ") ??
  (existsSync(built) ? [built] : selfCommand());

/** What a command said. */
interface Said {
  code: number;
  stdout: string;
  stderr: string;
}

/** Starts `pcnk ARGS` with its outputs piped. */
export function startPcnk(...args: string[]): Deno.ChildProcess {
  const [program, ...first] = pcnk;
  return new Deno.Command(program!, {
    args: [...first, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs `pcnk ARGS` to its end. */
export async function runPcnk(...args: string[]): Promise<Said> {
  const { code, stdout, stderr } = await startPcnk(...args).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** What a stream says, piece by piece. Unlike the stream itself it can be asked first for a line and then for the rest. */
export class Listener {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly decoder = new TextDecoder();
  private text = "";

  constructor(stream: ReadableStream<Uint8Array>) {
    this.reader = stream.getReader();
  }

  /** Waits for a line; fails when the stream ends before. */
  async line(wanted: RegExp): Promise<void> {
    while (!this.text.split("\n").slice(0, -1).some((each) => wanted.test(each))) {
      if (!await this.more()) throw new Error(`no line ${wanted} in:\n${this.text}`);
    }
  }

  /** Waits for the end; returns everything that was said. */
  async all(): Promise<string> {
    while (await this.more());
    return this.text;
  }

  private async more(): Promise<boolean> {
    const { done, value } = await this.reader.read();
    this.text += this.decoder.decode(value, { stream: !done });
    return !done;
  }
}
