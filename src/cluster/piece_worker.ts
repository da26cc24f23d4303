/** Large pieces of manifests, parsed in a worker (parse_worker.ts) that ends when it has been idle. */
import type { PieceResult } from "./parse.ts";
import { shareTexts } from "./reader.ts";

/** Smaller pieces take less than starting a worker does. */
const maxInline = 32 << 10;
const ampersand = 38;

/** Milliseconds without a large piece until the worker ends: it takes 10 MB. */
const idleMs = 2000;

/** Whether a piece may take long: it is large, or has an anchor (`&`), which aliases multiply. */
export function isLarge(bytes: Uint8Array): boolean {
  return bytes.length > maxInline || bytes.includes(ampersand);
}

/** In the executable all modules are behind one file, which runs this one in a worker (src/cli/unpack.ts). */
const source = import.meta.url.endsWith(".ts")
  ? new URL("./parse_worker.ts", import.meta.url)
  : import.meta.url;

export class PieceWorker {
  #worker: Worker | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #fail: ((error: Error) => void) | undefined;

  /**
   * What parsePiece() gives for a piece, in parts that take some milliseconds each. One piece at a time.
   * @throws Error when the worker cannot run or is closed
   */
  async *parse(bytes: Uint8Array): AsyncGenerator<PieceResult, void, void> {
    clearTimeout(this.#idle);
    try {
      let part = await this.#ask(bytes.slice());
      while (part !== null) {
        shareTexts(part.objects);
        yield part;
        part = await this.#ask();
      }
    } finally {
      if (this.#worker !== undefined) this.#idle = setTimeout(() => this.close(), idleMs);
    }
  }

  close() {
    clearTimeout(this.#idle);
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#fail?.(new Error("the worker for large manifests was ended"));
  }

  #ask(bytes: Uint8Array<ArrayBuffer> | null = null): Promise<PieceResult | null> {
    const worker = this.#worker ??= new Worker(source, { type: "module" });
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault(); // or it ends the agent
        reject(new Error(`the worker for large manifests failed: ${event.message}`));
        this.close();
      };
      worker.postMessage(bytes, bytes === null ? [] : [bytes.buffer]);
    });
  }
}
