/** Load on a service while something happens, and what became of every request. */
import assert from "node:assert/strict";
import { within } from "../../../src/lab/wait.ts";

const SCRIPT = new URL("load.py", import.meta.url).pathname;

/** What load.py counts. */
export interface Counted {
  sent: number;
  ok: number;
  failed: number;
  /** Seconds since the start, reason; the first twenty. */
  errors: [number, string][];
  /** Answers of each server. */
  servers: Record<string, number>;
  slowest_ms: number;
  /** Between two answers. */
  longest_gap_ms: number;
}

/** What is asked. */
export interface LoadTarget {
  /** `udp-one`: all datagrams from one port. */
  protocol: "http" | "udp" | "udp-one";
  address: string;
  port: number;
  /** New connections, or datagrams, a second; default 50. */
  rate?: number;
  /** HTTP connections that are kept; default none. */
  kept?: number;
}

/** The command line of a load. */
export function loadCommand({ protocol, address, port, rate = 50, kept = 0 }: LoadTarget) {
  const flags = ["--rate", String(rate), "--kept", String(kept)];
  return ["python3", SCRIPT, protocol, address, String(port), ...flags];
}

/** A load that runs; disposing of it ends it. */
export class Load {
  #text = "";
  #wake = () => {};
  readonly #reading: Promise<void>;
  readonly #errors: Promise<string>;
  #closed = false;

  private constructor(private readonly child: Deno.ChildProcess) {
    this.#reading = this.#read();
    this.#errors = new Response(child.stderr).text();
  }

  /** Starts a load and waits for its first answer. `child` runs `loadCommand`, its streams piped. */
  static async start(child: Deno.ChildProcess): Promise<Load> {
    const load = new Load(child);
    try {
      await within(20_000, "the load got no answer within 20 s", load.#first());
      return load;
    } catch (error) {
      await load[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends the load; returns what it counted. */
  async end(): Promise<Counted> {
    await this.#close();
    await within(20_000, "the load did not end", this.#reading);
    await this.child.status;
    const line = this.#text.trimEnd().split("\n").at(-1)!;
    if (!line.startsWith("{")) throw new Error(`load.py: ${await this.#errors}`);
    return JSON.parse(line);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
    const timer = setTimeout(() => this.#kill(), 15_000);
    await Promise.allSettled([this.#reading, this.#errors, this.child.status]);
    clearTimeout(timer);
  }

  async #first(): Promise<void> {
    while (!this.#text.includes("ready\n")) {
      const more = new Promise<void>((resolve) => this.#wake = resolve);
      const ended = await Promise.race([more, this.#reading.then(() => true)]);
      if (ended && !this.#text.includes("ready\n")) {
        throw new Error(`load.py ended at once: ${await this.#errors}`);
      }
    }
  }

  async #read(): Promise<void> {
    for await (const text of this.child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#text += text;
      this.#wake();
    }
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // It may have ended already.
    await this.child.stdin.close().catch(() => {});
  }

  #kill(): void {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Not one request failed, and there were at least `atLeast`. */
export function assertNoneFailed(counted: Counted, atLeast: number, what: string): void {
  const { sent, failed, errors } = counted;
  assert.equal(
    failed,
    0,
    `${what}: ${failed} of ${sent} failed\n${JSON.stringify(errors, null, 1)}`,
  );
  assert.ok(sent >= atLeast, `${what}: only ${sent} requests`);
}
