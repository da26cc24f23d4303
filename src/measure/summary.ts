/** Samples in five numbers, and one contender against another (pure). */
import { quantileSorted } from "d3-array";
import type { Line } from "./report.ts";

/** The contender that the others are compared with. */
export const OWN = "pcnk";

/** Five numbers of a set of samples. */
export interface Summary {
  n: number;
  median: number;
  /** First and third quartile: half of the samples lie between them. */
  q1: number;
  q3: number;
  min: number;
  max: number;
}

/** Quantiles between neighbours (Hyndman and Fan, type 7). Undefined when no sample is a number. */
export function summarize(samples: readonly unknown[]): Summary | undefined {
  const sorted = samples.filter((value) => Number.isFinite(value)).map(Number)
    .sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const at = (p: number) => quantileSorted(sorted, p)!;
  return { n: sorted.length, median: at(0.5), q1: at(0.25), q3: at(0.75), min: at(0), max: at(1) };
}

/** All samples of a line, whatever their x. */
export function samplesOf({ points }: Pick<Line, "points">): number[] {
  return points.flatMap(({ samples }) => samples);
}

/** Of a line at `x`, or of all of it. */
export function summaryAt({ points }: Line, x: number | undefined): Summary | undefined {
  return summarize(samplesOf({ points: points.filter((one) => x === undefined || one.x === x) }));
}

/** How pcnk stands to a peer. */
export interface Comparison {
  /** pcnk's median ÷ the peer's. */
  ratio: number;
  /** `same`: the medians round to the same figure. */
  verdict: "better" | "worse" | "same";
  /** False when their halves overlap or there are fewer than three samples: another run may end otherwise. */
  sure: boolean;
}

/** Undefined when the peer's median is 0, of which nothing is a multiple. */
export function compare(
  own: Summary,
  peer: Summary,
  better: "higher" | "lower",
): Comparison | undefined {
  if (peer.median === 0) return undefined;
  const ratio = own.median / peer.median;
  const ahead = better === "higher" ? ratio > 1 : ratio < 1;
  const same = ratio.toFixed(2) === "1.00";
  return {
    ratio,
    verdict: same ? "same" : ahead ? "better" : "worse",
    sure: own.n >= 3 && peer.n >= 3 && (own.q1 > peer.q3 || own.q3 < peer.q1),
  };
}
