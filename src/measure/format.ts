/** Numbers with their units, for people (pure). */

/** Units that take a prefix; the others are written as they are. */
const PREFIXED = new Set(["bit/s", "B/s", "b/s", "s"]);
const PREFIXES: readonly [number, string][] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
  [1, ""],
  [1e-3, "m"],
  [1e-6, "µ"],
  [1e-9, "n"],
];

/** A unit with a prefix, one for all figures of a table or an axis. */
export interface Scaled {
  unit: string;
  /** Figures are divided by it. */
  factor: number;
}

/** The prefix in which `largest` has one to three digits before the point. */
export function scaledUnit(unit: string, largest: number): Scaled {
  if (!PREFIXED.has(unit) || !(Math.abs(largest) > 0)) return { unit, factor: 1 };
  const found =
    PREFIXES.find(([factor]) => Math.abs(largest) >= factor && !(unit === "s" && factor > 1)) ??
      PREFIXES.at(-1)!;
  return { unit: found[1] + unit, factor: found[0] };
}

/** Three significant digits, thousands apart: 12,345 · 123 · 12.3 · 1.23 · 0.0123. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e9 || size < 1e-4) return value.toExponential(2).replace("e+", "e");
  const decimals = size >= 99.95 ? 0 : 2 - Math.floor(Math.log10(size));
  return value.toLocaleString("en-US", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
}

/** `12.3 Gbit/s`. */
export function formatValue(value: number, { unit, factor }: Scaled): string {
  return `${formatNumber(value / factor)}${unit === "" ? "" : ` ${unit}`}`;
}

/** Values of an x axis: bytes in powers of two where they are such, others plainly. */
export function formatX(x: number, unit: string): string {
  if (unit === "B" && x >= 1024 && Number.isInteger(x)) {
    for (const [size, name] of [[2 ** 30, "Gi"], [2 ** 20, "Mi"], [2 ** 10, "Ki"]] as const) {
      if (x % size === 0) return `${x / size} ${name}B`;
    }
  }
  if (Number.isInteger(x) && Math.abs(x) < 1e8) return x.toLocaleString("en-US");
  const [digits, exponent] = x.toExponential(2).split("e");
  if (Math.abs(Number(exponent)) >= 8) return `${Number(digits)}e${Number(exponent)}`;
  return String(Number(x.toPrecision(3)));
}

/** As `formatNumber`, without trailing zeros: what stands at an axis is round. */
export function formatTick(value: number): string {
  return formatNumber(value).replace(
    /\.?0+(?=e|$)/,
    (zeros, at, whole: string) =>
      zeros.startsWith(".") || whole.slice(0, at).includes(".") ? "" : zeros,
  );
}

/** `1,450 B`, `64 KiB`: as `formatX`, with its unit where that is not in it. */
export function formatXUnit(x: number, unit: string): string {
  const told = formatX(x, unit);
  return unit === "" || told.endsWith("B") ? told : `${told} ${unit}`;
}
