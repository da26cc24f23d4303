/** `names` in the order of round `round`: begun at another one each time, and every other cycle backwards. */
export function turned<T>(names: readonly T[], round: number): T[] {
  const start = round % names.length;
  const list = [...names.slice(start), ...names.slice(0, start)];
  return Math.floor(round / names.length) % 2 === 0 ? list : list.reverse();
}
