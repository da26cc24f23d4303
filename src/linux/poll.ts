/**
 * Waits for a descriptor without blocking the event loop: ppoll(2) on a thread of Deno's pool, which `close()` wakes by an
 * eventfd.
 */
import { closeFd, syscall } from "./libc.ts";

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
/** Events of poll(2). A pidfd is readable when its process has ended. */
export const POLLIN = 1;
export const POLLOUT = 4;

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

/** Descriptors and a time for ppoll(2): `struct pollfd { int fd; short events; short revents; }` each, `struct timespec`. */
function pollMemory(fds: readonly number[], events: number, ms: number) {
  // In one buffer: only what is used after the call is certain to live that long.
  const view = new DataView(new ArrayBuffer(8 * fds.length + 16));
  fds.forEach((fd, i) => {
    view.setInt32(8 * i, fd, LITTLE);
    view.setInt16(8 * i + 4, events, LITTLE);
  });
  const nanoseconds = BigInt(Math.round(Math.max(0, ms) * 1e6));
  view.setBigInt64(8 * fds.length, nanoseconds / 1_000_000_000n, LITTLE);
  view.setBigInt64(8 * fds.length + 8, nanoseconds % 1_000_000_000n, LITTLE);
  const timeout = new Uint8Array(view.buffer, 8 * fds.length);
  return { view, entries: new Uint8Array(view.buffer), timeout };
}

/** Whether `fd` is ready, or in error, within `ms`, which blocks everything else. @throws {SyscallError} */
export function pollNow(fd: number, events: number, ms: number): boolean {
  const { entries, timeout } = pollMemory([fd], events, ms);
  return syscall("ppoll", entries, 1, timeout, null, 0) > 0;
}

/** Waits on a thread of Deno's pool until `fd` is ready, or in error, at most `ms`; false when the time is over. */
export async function pollInThread(fd: number, ms: number, events = POLLIN): Promise<boolean> {
  const { view, entries, timeout } = pollMemory([fd], events, ms);
  return await loadPpoll()(entries, 1, timeout, null, 0) > 0 && view.byteLength > 0;
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
    const fds = [this.fd, this.#wake];
    const { view, entries, timeout } = pollMemory(fds, POLLIN, timeoutMs ?? 0);
    const limit = timeoutMs === undefined ? null : timeout;
    this.#waiting = loadPpoll()(entries, 2, limit, null, 0);
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
