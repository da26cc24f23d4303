/** Waiting with an end: a time limit and an AbortSignal, with nothing left behind that would keep the process alive. */

/**
 * Waits for `work`, at most `ms`.
 *
 * @throws what `work` throws; the signal's reason when it is aborted; an Error with `late` as its message.
 */
export async function within<T>(ms: number, late: string, work: Promise<T>, signal?: AbortSignal) {
  signal?.throwIfAborted();
  let stop = () => {};
  const limit = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(new Error(late)), ms);
    const abort = () => reject(signal!.reason);
    signal?.addEventListener("abort", abort);
    stop = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    stop();
  }
}

/** Runs `work` on all items, `limit` at a time; the first failure ends it once those under way are done. */
export async function inParallel<T>(items: T[], limit: number, work: (item: T) => Promise<void>) {
  const rest = items.values();
  let failed = false;
  const runners = Array.from({ length: Math.min(limit, items.length) }, async () => {
    for (const item of rest) {
      if (failed) return;
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  });
  const bad = (await Promise.allSettled(runners)).find((one) => one.status === "rejected");
  if (bad) throw bad.reason;
}
