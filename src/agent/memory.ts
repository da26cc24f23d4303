/** Keeps the agent small: memory that lists of a large cluster passed through goes back to the kernel. */
import { trimMemory } from "../linux/malloc.ts";

/** Milliseconds after the start, when the first lists are garbage; then between two times. */
const firstMs = 3000;
const everyMs = 300_000;

export class Memory {
  #timer: ReturnType<typeof setTimeout> | undefined;

  start(ms = firstMs) {
    this.#timer = setTimeout(() => {
      if (trimMemory()) this.start(everyMs);
    }, ms);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}
