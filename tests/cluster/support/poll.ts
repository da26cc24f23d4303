/** Polling, with a deadline, for what has no event. */

/** Between two questions, ms. */
const PAUSE_MS = 100;

/**
 * Asks until the answer is neither false, undefined nor an error; returns it.
 * @throws {Error} after `ms`, with the last answer's error
 */
export async function until<T>(
  what: string,
  ms: number,
  ask: () => Promise<T | false | undefined>,
): Promise<T> {
  const end = performance.now() + ms;
  let last: unknown;
  do {
    try {
      const answer = await ask();
      if (answer !== false && answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  } while (performance.now() < end);
  throw new Error(`not within ${ms / 1000} s: ${what}`, { cause: last });
}
