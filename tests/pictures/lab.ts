/** The lab that the pictures are taken in, and a terminal in it. */
import { join } from "node:path";
import { BuildError, root } from "../../src/build/steps.ts";
import type { Shot } from "./screenshot.ts";

export const LAB = "pictures";
export const pcnk = join(root, "dist/pcnk");

/** No command of a picture takes longer, on a machine that has nothing else to do. */
const PATIENCE_MS = 180_000;

/**
 * Runs a program to its end; what it writes on both streams.
 * @throws {BuildError} when it takes too long; it is ended then
 */
async function run(command: string, args: string[]): Promise<string> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const { stdout, stderr } = await new Deno.Command(command, { args, stdin: "null", signal })
    .output();
  if (signal.aborted) throw new BuildError(`${[command, ...args].join(" ")}: takes too long`);
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

/** `pcnk lab` for this lab. */
export async function lab(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(pcnk, {
    args: ["lab", ...args, "--name", LAB],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new BuildError(`pcnk lab ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}

/** Runs a command line (words between blanks) in a pod or on a node, without a terminal. */
export function inLab(where: string, line: string): Promise<string> {
  return run(pcnk, ["lab", "exec", "--name", LAB, where, "--", ...line.split(" ")]);
}

/** A terminal: programs that run on it write as for a person, colours and all. */
export class Terminal {
  constructor(readonly columns: number) {}

  /** What a command line writes. */
  output(line: string, cwd = root): Promise<string> {
    const typed = `stty cols ${this.columns} rows 50; cd ${cwd}; exec ${line}`;
    return run("script", ["-qec", typed, "/dev/null"]);
  }

  /** A command line of a node or a pod. */
  async shot(where: string, command: string, cwd?: string): Promise<Shot> {
    const line = command.replace(/^pcnk /, `${pcnk} `);
    const output = await this.output(`${pcnk} lab exec --name ${LAB} ${where} -- ${line}`, cwd);
    return { prompt: `${where}#`, command, output };
  }

  /** Many, one after the other. */
  async shots(...lines: [where: string, command: string][]): Promise<Shot[]> {
    const taken: Shot[] = [];
    for (const [where, command] of lines) taken.push(await this.shot(where, command));
    return taken;
  }

  /** `command` watches; traffic is made again and again until it has seen what it waits for. */
  async watched(command: string, ...traffic: [where: string, line: string][]): Promise<Shot[]> {
    let seen = false;
    const watching = this.shot("node1", command).finally(() => seen = true);
    while (!seen) {
      for (const [where, line] of traffic) await inLab(where, line);
    }
    return [await watching];
  }
}
