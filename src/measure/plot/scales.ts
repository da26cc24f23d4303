/** Axes: linear or logarithmic, and where their labels are (pure). */
import { scaleLinear, scaleLog } from "d3-scale";

/** An axis from 0 to 1; panels stretch it to their size. */
export interface Scale {
  log: boolean;
  /** 0 to 1 for values on the axis. */
  at(value: number): number;
  /** Placement labels may be, those that matter most first. */
  ticks: number[];
}

/** Curves over y that reach over more than this are logarithmic in y as well. */
const LOG_FROM = 30;

/** The values that were measured are the labels; when they are many, round ones. */
export function xScale(xs: readonly number[], log: boolean): Scale {
  const [low, high] = [xs[0] ?? 0, xs.at(-1) ?? 1];
  const logarithmic = log && low > 0;
  const domain: [number, number] = low === high
    ? logarithmic ? [low / 2, low * 2] : [low - 1, low + 1]
    : [low, high];
  const scale = logarithmic
    ? scaleLog().domain(domain).range([0, 1])
    : scaleLinear().domain(domain).range([0, 1]);
  const given = xs.length <= 12 && (logarithmic || xs.length <= 6);
  return {
    log: logarithmic,
    at: scale,
    ticks: given ? [low, high, ...xs.slice(1, -1)] : inOrder(scale.ticks(6)),
  };
}

/** Linear ones begin at 0, so that heights compare. Only curves may be logarithmic. */
export function yScale(
  [low = 0, high = 1]: readonly (number | undefined)[],
  plot: "time" | "curve" | "bars",
): Scale {
  const log = plot === "curve" && low > 0 && high / low >= LOG_FROM;
  if (log) {
    // Rounded to 1, 2 or 5, not to decades: room at the edges is room that the lines do not have.
    const scale = scaleLog().domain([rounded(low, Math.floor), rounded(high, Math.ceil)])
      .range([0, 1]);
    const all = scale.ticks();
    const powers = all.filter((tick) => isPower(tick));
    const between = powers.length < 4 ? all.filter((tick) => startsWith(tick, [2, 5])) : [];
    return { log, at: scale, ticks: [...powers, ...between] };
  }
  const top = Math.max(high, 0), bottom = Math.min(low, 0);
  const scale = scaleLinear().domain([bottom, top > bottom ? top * 1.05 : bottom + 1]).nice(5)
    .range([0, 1]);
  return { log, at: scale, ticks: scale.ticks(5) };
}

/** The next of …, 1, 2, 5, 10, … below or above. */
function rounded(value: number, round: (value: number) => number): number {
  const steps = [1, 2, 5].map((digit) => {
    const exponent = round(Math.log10(value / digit) - (round === Math.ceil ? 1e-9 : -1e-9));
    return digit * 10 ** exponent;
  });
  return round === Math.floor ? Math.max(...steps) : Math.min(...steps);
}

function startsWith(value: number, digits: readonly number[]): boolean {
  return digits.includes(Number(value.toExponential()[0]));
}

/** 0.1, 1, 10, … */
export function isPower(value: number): boolean {
  return startsWith(value, [1]);
}

/** First and last before the others. */
function inOrder(ticks: readonly number[]): number[] {
  return ticks.length < 3 ? [...ticks] : [ticks[0]!, ticks.at(-1)!, ...ticks.slice(1, -1)];
}

/** Labels that leave each other room: each is taken unless it would touch one that was taken before. */
export function spaced<T extends { at: number; size: number }>(
  labels: readonly T[],
  room: number,
): T[] {
  const taken: T[] = [];
  for (const label of labels) {
    const free = taken.every(({ at, size }) =>
      Math.abs(at - label.at) >= (size + label.size) / 2 + room
    );
    if (free) taken.push(label);
  }
  return taken;
}
