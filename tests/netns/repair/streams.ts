/** Small streams of datagrams along the paths of a lab, whose losses are counted period by period. */
import type { LabHandle } from "../../../src/lab/lab.ts";

const STREAM = new URL("./stream.py", import.meta.url).pathname;

/** What stream.py counts in a period. */
interface Period {
  sent: number;
  lost: number;
  gap_ms: number;
}

/** Where from and where to. */
const PATHS = {
  "ClusterIP": ["pod1-1", "10.96.0.10", 80],
  "NodePort": ["outside", "192.168.50.11", 30080],
  "world": ["pod1-1", "198.51.100.10", 8080],
  "node": ["node1", "10.96.0.10", 80],
} as const;

type Path = keyof typeof PATHS;

export class Streams implements AsyncDisposable {
  readonly #children = new Map<Path, Deno.ChildProcess>();
  readonly #lines = new Map<Path, ReadableStreamDefaultReader<string>>();

  constructor(lab: LabHandle) {
    for (const [path, [from, ...to]] of Object.entries(PATHS) as [Path, typeof PATHS[Path]][]) {
      const child = lab.command(from, ["python3", STREAM, ...to.map(String)], {
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      this.#children.set(path, child);
      this.#lines.set(path, child.stdout.pipeThrough(new TextDecoderStream()).getReader());
    }
  }

  /** Ends the period; what was lost in it, by path. */
  async period(): Promise<Record<Path, Period>> {
    const found = await Promise.all([...this.#children].map(async ([path, child]) => {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode("\n"));
      writer.releaseLock();
      let line = "";
      while (!line.endsWith("\n")) {
        const { value, done } = await this.#lines.get(path)!.read();
        if (done) throw new Error(`the stream ${path} ended: ${line}`);
        line += value;
      }
      return [path, JSON.parse(line)] as const;
    }));
    return Object.fromEntries(found) as Record<Path, Period>;
  }

  async [Symbol.asyncDispose]() {
    for (const [path, child] of this.#children) {
      await child.stdin.close().catch(() => {});
      await this.#lines.get(path)!.cancel();
      await child.status;
    }
  }
}
