/** Medians, spreads and paired ratios: what every figure of the benchmarks is made of (pure). */
import { quantile as quantileOf } from "d3-array";
import { summarize as summarizeSamples, type Summary } from "../../src/measure/summary.ts";

export type { Summary };

/**
 * The `q`-quantile (0 to 1), linearly between neighbours (Hyndman and Fan, type 7).
 * @throws {RangeError} when there are no values, or one is not a number
 */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError("no values");
  if (values.some(Number.isNaN)) throw new RangeError("a value is not a number");
  return quantileOf(values, q)!;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** @throws {RangeError} as `quantile` */
export function summarize(values: readonly number[]): Summary {
  median(values);
  return summarizeSamples(values)!;
}

/**
 * The ratios of two series that were measured in turns: value by value, so that what slows the machine for a while slows
 * both and cancels out.
 * @throws {RangeError} when the series differ in length
 */
export function pairedRatios(a: readonly number[], b: readonly number[]): number[] {
  if (a.length !== b.length) throw new RangeError(`${a.length} values against ${b.length}`);
  return a.map((value, i) => value / b[i]!);
}

/**
 * A confidence interval of the median of at least 95 %, by order statistics: no assumption about the distribution.
 * With fewer than 6 values it is their whole range, which is less sure.
 */
export function medianInterval(values: readonly number[]): { low: number; high: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const n = sorted.length;
  if (n === 0) throw new RangeError("no values");
  // The largest k for which P(fewer than k of n fair coins show heads) is at most 2.5 %.
  let cumulative = 0, term = 0.5 ** n, k = 0;
  while (k < n / 2) {
    cumulative += term;
    if (cumulative > 0.025) break;
    term *= (n - k) / (k + 1);
    k++;
  }
  const rank = Math.max(k, 1);
  return { low: sorted[rank - 1]!, high: sorted[n - rank]! };
}
