/** Answers that are being worked at, or are still fresh. */
export class Fresh<T> {
  readonly #kept = new Map<string, { until: number; answer: Promise<T> }>();

  /** @param ms milliseconds that an answer is good for, from the question on */
  constructor(private readonly ms: number) {}

  /** One that failed is not kept. */
  get(name: string, ask: () => Promise<T>): Promise<T> {
    const now = performance.now();
    for (const [key, { until }] of this.#kept) if (until < now) this.#kept.delete(key);
    const kept = this.#kept.get(name);
    if (kept !== undefined) return kept.answer;
    const answer = ask();
    const entry = { until: now + this.ms, answer };
    this.#kept.set(name, entry);
    answer.catch(() => {
      if (this.#kept.get(name) === entry) this.#kept.delete(name);
    });
    return answer;
  }
}
