/**
 * Waits for a descriptor without blocking the event loop: ppoll(2) on a thread of Deno's pool, which `close()` wakes by an
 * eventfd.
 */
import { closeFd, syscall } from "./libc.ts";

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const POLLIN = 1;

type Ppoll = (
  fds: Uint8Array<ArrayBuffer>,
  count: number,
  timeout: Uint8Array<ArrayBuffer> | null,
  mask: null,
  size: number,
) => Promise<number>;

let ppoll: Ppoll | undefined;

/** Opens the function; the first wait does so, too. */
export function loadPpoll(): Ppoll {
  if (ppoll) return ppoll;
  const { symbols } = Deno.dlopen("libc.so.6", {
    ppoll: {
      parameters: ["buffer", "u32", "buffer", "buffer", "u32"],
      result: "i32",
      nonblocking: true,
    },
  });
  return ppoll = symbols.ppoll;
}

/** Waits for one descriptor to become readable, as often as wanted. */
export class Poller {
  readonly #wake: number;
  #waiting: Promise<number> | undefined;
  #closed = false;

  /** @param fd stays the caller's, who closes it after `close()` has resolved */
  constructor(readonly fd: number) {
    const EFD_CLOEXEC = 0o2000000;
    this.#wake = syscall("eventfd2", 0, EFD_CLOEXEC);
  }

  /**
   * Resolves to true when the descriptor is readable or has an error, false after `timeoutMs` milliseconds or
   * when the poller is closed. One wait at a time.
   */
  async readable(timeoutMs?: number): Promise<boolean> {
    if (this.#waiting) throw new TypeError("already waiting");
    if (this.#closed) return false;
    // Two of struct pollfd { int fd; short events; short revents; } and a struct timespec, in one buffer: only
    // what is used after the call is certain to live that long.
    const memory = new ArrayBuffer(32);
    const fds = new Uint8Array(memory);
    const view = new DataView(fds.buffer);
    for (const [i, fd] of [this.fd, this.#wake].entries()) {
      view.setInt32(8 * i, fd, LITTLE);
      view.setInt16(8 * i + 4, POLLIN, LITTLE);
    }
    let timeout: Uint8Array<ArrayBuffer> | null = null;
    if (timeoutMs !== undefined) {
      timeout = new Uint8Array(memory, 16);
      const nanoseconds = BigInt(Math.round(Math.max(0, timeoutMs) * 1e6));
      view.setBigInt64(16, nanoseconds / 1_000_000_000n, LITTLE);
      view.setBigInt64(24, nanoseconds % 1_000_000_000n, LITTLE);
    }
    this.#waiting = loadPpoll()(fds, 2, timeout, null, 0);
    try {
      await this.#waiting;
    } finally {
      this.#waiting = undefined;
    }
    return !this.#closed && view.getInt16(6, LITTLE) !== 0;
  }

  /** Ends a wait; resolves when no thread polls the descriptor any more. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    syscall("write", this.#wake, new Uint8Array(new BigUint64Array([1n]).buffer), 8);
    await this.#waiting;
    closeFd(this.#wake);
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
