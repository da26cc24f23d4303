/** The word of `known` that differs from `given` by a slip or two; undefined when none does. */
export function nearest(given: string, known: readonly string[]): string | undefined {
  const wanted = given.toLowerCase();
  const scored = known.map((word) => ({ word, distance: distance(wanted, word.toLowerCase()) }));
  const [best] = scored.sort((a, b) => a.distance - b.distance);
  return best !== undefined && best.distance <= Math.max(2, given.length / 3)
    ? best.word
    : undefined;
}

/** Optimal string alignment: how many letters to add, drop, change, or exchange with their neighbour. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const exchanged = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const exchange = i > 1 && j > 1 && exchanged ? before[j - 2]! + 1 : Infinity;
      next.push(Math.min(change, exchange, next[j - 1]! + 1, row[j]! + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length]!;
}
