/** Running the executable under test as a user does. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { selfCommand } from "../../src/lab/executable.ts";

const built = fileURLToPath(new URL("../../dist/pcnk", import.meta.url));

/** Words that start pcnk: PCNK from the environment, dist/pcnk, or the source when that is not built. */
export const pcnk: string[] = Deno.env.get("PCNK")?.split(" ") ??
  (existsSync(built) ? [built] : selfCommand());

/** What a command said. */
export interface Said {
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

/** Reads a stream until a line matches; returns all that came. Fails when the stream ends before. */
export async function untilLine(stream: ReadableStream<Uint8Array>, line: RegExp): Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (!text.split("\n").slice(0, -1).some((each) => line.test(each))) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`no line ${line} in:\n${text}`);
      text += decoder.decode(value, { stream: true });
    }
    return text;
  } finally {
    reader.releaseLock();
  }
}
