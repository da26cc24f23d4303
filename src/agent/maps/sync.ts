/** Brings a small map to exactly the entries it shall have. */

/** The part of a `BpfMap` that this takes. */
export interface SyncedMap<K, V> {
  entries(): Iterable<[K, V]>;
  set(key: K, value: V): void;
  delete(key: K): boolean;
}

/** Sets what is missing or different, then removes the rest; returns how many entries were touched. */
export function syncMap<K, V>(map: SyncedMap<K, V>, desired: Iterable<readonly [K, V]>): number {
  const held = new Map<string, { key: K; value: string }>();
  for (const [key, value] of map.entries()) held.set(text(key), { key, value: text(value) });
  let touched = 0;
  for (const [key, value] of desired) {
    const name = text(key);
    if (held.get(name)?.value !== text(value)) {
      map.set(key, value);
      touched++;
    }
    held.delete(name);
  }
  for (const { key } of held.values()) {
    map.delete(key);
    touched++;
  }
  return touched;
}

/** Sets an element of an array unless it is so; returns whether it was not. */
export function syncElement<V>(
  map: { get(key: number): V | undefined; set(key: number, value: V): void },
  key: number,
  desired: V,
): boolean {
  const differs = text(map.get(key)) !== text(desired);
  if (differs) map.set(key, desired);
  return differs;
}

/** Keys and values are numbers, strings, or flat objects of such; the order of members does not matter. */
function text(value: unknown): string {
  const plain = (_: string, one: unknown) => typeof one === "bigint" ? String(one) : one;
  if (typeof value !== "object" || value === null) return JSON.stringify(value, plain);
  return JSON.stringify(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1), plain);
}
