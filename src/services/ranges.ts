/** Source ranges of Service ports, as the `source_ranges` map holds them. Pure. */

/** Clients of a prefix may use the port that has the id. */
export interface SourceRange {
  id: number;
  /** IPv4, without host bits: `10.0.0.0/8`. */
  prefix: string;
}

export interface RangeChanges {
  /** Before the entries that ask for them. */
  add: SourceRange[];
  /** After the entries no longer ask for them. */
  remove: SourceRange[];
}

/** A copy of the map. */
export class RangeTable {
  readonly #prefixes = new Map<number, Set<string>>();
  /** Entries of the map. */
  size = 0;

  constructor(readonly capacity: number = Infinity) {}

  has(id: number): boolean {
    return this.#prefixes.has(id);
  }

  of(id: number): ReadonlySet<string> {
    return this.#prefixes.get(id) ?? new Set();
  }

  ids(): Iterable<number> {
    return this.#prefixes.keys();
  }

  add({ id, prefix }: SourceRange) {
    let known = this.#prefixes.get(id);
    if (known === undefined) this.#prefixes.set(id, known = new Set());
    if (!known.has(prefix)) this.size++;
    known.add(prefix);
  }

  remove({ id, prefix }: SourceRange) {
    const known = this.#prefixes.get(id);
    if (!known?.delete(prefix)) return;
    this.size--;
    if (known.size === 0) this.#prefixes.delete(id);
  }
}

/** Ids for which the ranges could not be planned: the map has no room for them. */
interface PlannedRanges extends RangeChanges {
  short: number[];
}

/**
 * The changes that give each id of `wanted` exactly its ranges. An id that there is no room for keeps those it has, and
 * gets none that it has not: too few clients are let in rather than too many.
 */
export function planRanges(
  wanted: ReadonlyMap<number, readonly string[]>,
  held: RangeTable,
): PlannedRanges {
  const planned: PlannedRanges = { add: [], remove: [], short: [] };
  for (const [id, prefixes] of wanted) {
    const before = held.of(id);
    const after = new Set(prefixes);
    const add = [...after].filter((prefix) => !before.has(prefix));
    if (held.size + planned.add.length + add.length > held.capacity) planned.short.push(id);
    else planned.add.push(...add.map((prefix) => ({ id, prefix })));
    for (const prefix of before) if (!after.has(prefix)) planned.remove.push({ id, prefix });
  }
  return planned;
}
