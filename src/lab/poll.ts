/** Waiting for a descriptor on a thread of Deno's pool, so that everything else goes on. */

type Poll = (fds: Uint8Array<ArrayBuffer>, count: bigint, timeoutMs: number) => Promise<number>;

let poll: Poll | undefined;

function openPoll(): Poll {
  const { symbols } = Deno.dlopen("libc.so.6", {
    poll: { parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
  });
  return symbols.poll;
}

/** Events of poll(2). A pidfd is readable when its process has ended. */
export const POLLIN = 1;
export const POLLOUT = 4;

/** One `struct pollfd`. */
export function pollfd(fd: number, events: number): Uint8Array<ArrayBuffer> {
  const entry = new Uint8Array(8);
  new Int32Array(entry.buffer)[0] = fd;
  new Int16Array(entry.buffer)[2] = events;
  return entry;
}

/** Waits until `fd` is ready, or in error, at most `ms`; false when the time is over. */
export async function pollInThread(fd: number, ms: number, events = POLLIN): Promise<boolean> {
  poll ??= openPoll();
  const entry = pollfd(fd, events);
  const ready = await poll(entry, 1n, Math.ceil(ms));
  // The entry is looked at after the wait, or it might be collected while the kernel has its address.
  return ready > 0 && entry.length > 0;
}
