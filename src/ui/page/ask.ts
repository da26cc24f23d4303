/// <reference lib="dom" />
/** Asking the server. */
import type { Problem } from "../types.ts";

/** What the server said was wrong; without a status it did not answer. */
export class AskError extends Error {
  constructor(readonly status: number | undefined, { error, next }: Problem) {
    super(next === undefined ? error : `${error} → ${next}`);
  }
}

/** @throws {AskError} */
export async function ask<T>(
  name: string,
  params: Record<string, string | number | undefined> = {},
  signal?: AbortSignal,
): Promise<T> {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value !== undefined && value !== "") query.set(key, String(value));
  }
  let answer: Response;
  try {
    answer = await fetch(`api/${name}?${query}`, signal ? { signal } : {});
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new AskError(undefined, {
      error: "pcnk does not answer any more",
      next: "was it ended? start pcnk ui again",
    });
  }
  if (answer.ok) return await answer.json();
  const text = await answer.text();
  let problem: Problem = { error: text.trim() };
  try {
    problem = JSON.parse(text);
  } catch {
    // Plain text: from the guard.
  }
  throw new AskError(answer.status, problem);
}
