/** What every measure gets, and what it is. */
import { setTimeout } from "node:timers/promises";
import type { AttachMode } from "../../src/bpf/attach.ts";
import { turned } from "../../src/measure/run.ts";
import type { Found } from "./result.ts";

export interface Context {
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  /** How often each contender of a comparison is measured. */
  runs: number;
  /** Duration of one run of traffic, ms. */
  sliceMs: number;
  attach: AttachMode;
  /** Reports how far it is. */
  progress(text: string): void;
}

/** Something that `--only` names. Its rows are those of rows.ts. */
export interface Measure {
  name: string;
  /** One line, for `--help`. */
  about: string;
  run(context: Context): Promise<Found>;
}

/**
 * Takes every contender's figure once a round. The order turns round by round, so that none is always the first or always
 * behind the same other. Returns the values of each contender in the order of the rounds.
 */
export async function interleave(
  { runs, signal, progress }: Pick<Context, "runs" | "signal" | "progress">,
  contenders: Record<string, () => Promise<number>>,
): Promise<Record<string, number[]>> {
  const names = Object.keys(contenders);
  const values: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < runs; round++) {
    progress(`${round + 1}/${runs}`);
    for (const name of turned(names, round)) {
      signal.throwIfAborted();
      values[name]!.push(await contenders[name]!());
    }
  }
  return values;
}

/** Waits; rejects when the signal is aborted meanwhile. */
export const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  setTimeout(ms, undefined, { signal });
