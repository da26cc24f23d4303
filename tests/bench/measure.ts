/** What every measure gets, and what it is. */
import { turned } from "../../src/measure/turns.ts";
import type { AttachMode } from "../../src/bpf/attach.ts";
import type { Result } from "./result.ts";

export interface Context {
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  /** How often each side of a comparison is measured. */
  runs: number;
  /** Duration of one run of traffic, ms. */
  sliceMs: number;
  attach: AttachMode;
  /** Tells how far it is. */
  progress(text: string): void;
}

/** Something that `--only` names; makes one result or several. */
export interface Measure {
  name: string;
  /** One line, for `--help`. */
  about: string;
  run(context: Context): Promise<Result[]>;
}

/**
 * Takes every side's figure once a round, `rounds` times. The order turns round by round, so that none is always the
 * first or always behind the same other. Returns the values of each side in the order of the rounds.
 */
export async function interleave<K extends string>(
  { runs, signal, progress }: Pick<Context, "runs" | "signal" | "progress">,
  sides: Record<K, () => Promise<number>>,
): Promise<Record<K, number[]>> {
  const names = Object.keys(sides) as K[];
  const values = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    K,
    number[]
  >;
  for (let round = 0; round < runs; round++) {
    progress(`${round + 1}/${runs}`);
    for (const name of turned(names, round)) {
      signal.throwIfAborted();
      values[name].push(await sides[name]());
    }
  }
  return values;
}
