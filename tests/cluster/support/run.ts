/** Running a command with a limit in time, and an error that says what it said. */

/** What a command said. */
export interface Said {
  code: number;
  stdout: string;
  stderr: string;
}

/** How a command is run. */
interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** Milliseconds until it is killed. */
  ms: number;
  /** Its standard input; none when absent. */
  input?: string;
  /** Do not throw for an exit code other than 0. */
  anyCode?: boolean;
}

/**
 * Runs a command to its end.
 * @throws {Error} when it fails or takes longer than `ms`, with its words
 */
export async function run(command: readonly string[], options: RunOptions): Promise<Said> {
  const [program, ...args] = command;
  const child = new Deno.Command(program!, {
    args,
    env: options.env,
    cwd: options.cwd,
    stdin: options.input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    kill(child);
  }, options.ms);
  try {
    if (options.input !== undefined) await write(child.stdin, options.input);
    const { code, stdout, stderr } = await child.output();
    const said = { code, stdout: decode(stdout), stderr: decode(stderr) };
    if (late) {
      throw new Error(`${command.join(" ")}: no end after ${options.ms} ms\n${words(said)}`);
    }
    if (code !== 0 && !options.anyCode) {
      throw new Error(`${command.join(" ")}: exit code ${code}\n${words(said)}`);
    }
    return said;
  } finally {
    clearTimeout(timer);
  }
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

async function write(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch {
    // It did not want all of it; its exit code tells whether that is well.
  }
}

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function words({ stdout, stderr }: Said): string {
  return [stdout, stderr].map((text) => text.trim()).filter((text) => text !== "").join("\n");
}
