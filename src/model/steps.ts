/** Runs work that yields where it may be interrupted, without interrupting it; returns its result. */
export function finished<T>(work: Generator<void, T, void>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}
