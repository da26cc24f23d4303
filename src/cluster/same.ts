/** True when two values of plain data (no cycles, no classes) are equal; keys that are undefined count as absent. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]));
  }
  if (Array.isArray(b)) return false;
  return sameFields(a as Fields, b as Fields);
}

type Fields = Record<string, unknown>;

function sameFields(a: Fields, b: Fields): boolean {
  for (const key in a) {
    if (a[key] !== b[key] && !same(a[key], b[key])) return false;
  }
  for (const key in b) {
    if (a[key] === undefined && b[key] !== undefined) return false;
  }
  return true;
}
