/**
 * A copy of what the kernel's maps hold, as far as the plan needs it. Filled from the maps at the start and at each full
 * resync, and kept up as changes are applied.
 */
import { BACKEND_FLAG, SERVICE_FLAG } from "../abi/enums.ts";
import type { Backend, BackendKey, FrontendKey } from "../model/frontend.ts";
import { AddressColumn, type AddressValue } from "../net/address.ts";
import type { Family } from "../net/error.ts";
import { RangeTable } from "./ranges.ts";
import { type Extent, ExtentAllocator } from "./extents.ts";
import { TableRegister } from "./tables.ts";

/** An entry of the `services` map. */
export interface ServiceEntry {
  key: FrontendKey;
  /** Never 0 in what pcnk writes. */
  id: number;
  first: number;
  count: number;
  /** 0: all backends weigh the same. */
  totalWeight: number;
  affinitySeconds: number;
  /** Of SERVICE_FLAG. */
  flags: number;
  /** With SERVICE_FLAG.MAGLEV: which of the Maglev tables. */
  table?: number | undefined;
}

/** An element of the `backends` array. */
export interface BackendEntry {
  addr: string;
  port: number;
  flags: number;
  /** Sum of the weights of the extent up to this backend; 0 where all weigh the same. */
  weightEnd: number;
}

/** A list of backends as the array holds it. One object is used for all elements. */
export function* toEntries(
  backends: readonly Backend[],
): Generator<BackendEntry & Pick<BackendKey, "value">> {
  const weighted = totalWeight(backends) > 0;
  const entry = { addr: "", value: 0 as AddressValue, port: 0, flags: 0, weightEnd: 0 };
  for (const { addr, value, port, weight, terminating } of backends) {
    entry.addr = addr;
    entry.value = value;
    entry.port = port;
    entry.flags = flagsOf(terminating);
    if (weighted) entry.weightEnd += weight;
    yield entry;
  }
}

function flagsOf(terminating: boolean): number {
  return terminating ? BACKEND_FLAG.TERMINATING : 0;
}

/** Sum of the weights, or 0 when all are the same. */
export function totalWeight(backends: readonly Backend[]): number {
  const weight = backends[0]?.weight;
  if (backends.every((backend) => backend.weight === weight)) return 0;
  return backends.reduce((total, backend) => total + backend.weight, 0);
}

/** The array's elements in columns: a quarter of a million of IPv4 are 3 MB. */
class BackendTable {
  readonly #addresses: AddressColumn;
  readonly #ports: Uint16Array;
  readonly #flags: Uint8Array;
  readonly #weightEnds: Uint32Array;

  constructor(readonly capacity: number, family: Family = 4) {
    this.#addresses = new AddressColumn(capacity, family);
    this.#ports = new Uint16Array(capacity);
    this.#flags = new Uint8Array(capacity);
    this.#weightEnds = new Uint32Array(capacity);
  }

  /** Writes a list into the elements from `first` on. */
  setExtent(first: number, backends: readonly Backend[]) {
    let i = first;
    for (const { value, port, flags, weightEnd } of toEntries(backends)) {
      this.set(i++, value, port, flags, weightEnd);
    }
  }

  set(index: number, address: AddressValue, port: number, flags: number, weightEnd: number) {
    this.#addresses.set(index, address);
    this.#ports[index] = port;
    this.#flags[index] = flags;
    this.#weightEnds[index] = weightEnd;
  }

  /** Whether the elements from `first` on are these backends. */
  holds(first: number, backends: readonly Backend[]): boolean {
    const weighted = totalWeight(backends) > 0;
    let weightEnd = 0;
    return backends.every(({ value, port, weight, terminating }, i) => {
      if (weighted) weightEnd += weight;
      const index = first + i;
      return this.is(index, value, port, flagsOf(terminating), weightEnd);
    });
  }

  /** Address and port of each element of an extent. */
  *keys({ first, count }: Extent): Generator<BackendKey> {
    for (let i = first; i < first + count; i++) {
      yield { value: this.#addresses.get(i), port: this.#ports[i]! };
    }
  }

  /** Whether an extent has a backend. */
  has({ first, count }: Extent, { value, port }: BackendKey): boolean {
    for (let i = first; i < first + count; i++) if (this.#isAt(i, value, port)) return true;
    return false;
  }

  /** Whether an element is this one. */
  is(index: number, value: AddressValue, port: number, flags: number, weightEnd: number): boolean {
    return this.#isAt(index, value, port) && this.#flags[index] === flags &&
      this.#weightEnds[index] === weightEnd;
  }

  #isAt(index: number, value: AddressValue, port: number): boolean {
    return this.#addresses.get(index) === value && this.#ports[index] === port;
  }
}

export interface Capacity {
  services: number;
  backends: number;
  /** Undefined: no end of them. */
  sourceRanges?: number;
  /** Maglev tables, and positions of each; undefined: none. */
  maglev?: { tables: number; size: number };
}

export class KernelState {
  /** By their keys' texts, as all that takes a key here. */
  readonly services = new Map<string, ServiceEntry>();
  readonly backends: BackendTable;
  readonly extents: ExtentAllocator;
  readonly ranges: RangeTable;
  readonly tables: TableRegister;
  /** How many entries use an extent, by its first element. */
  readonly #uses = new Map<number, number>();
  /** Entries with an invalid extent: it overlaps another or leaves the array. */
  readonly #invalid = new Set<string>();
  /** What misfits occupy; free again once no entry points there. */
  #orphaned: Extent[] = [];

  constructor(readonly capacity: Capacity, quarantineMs?: number) {
    this.backends = new BackendTable(capacity.backends);
    this.extents = new ExtentAllocator(capacity.backends, quarantineMs);
    this.ranges = new RangeTable(capacity.sourceRanges);
    const { tables, size } = capacity.maglev ?? { tables: 0, size: 0 };
    this.tables = new TableRegister(tables, size, quarantineMs);
  }

  /** What the maps hold; fill `backends` before. `readTable` gives the positions of a Maglev table. */
  load(
    services: Iterable<ServiceEntry>,
    readTable: (table: number) => Uint16Array = () => new Uint16Array(),
  ) {
    for (const entry of services) this.services.set(entry.key.text, entry);
    for (const key of this.services.keys()) {
      const table = this.tableOf(key);
      if (table !== undefined) this.tables.load(table, () => readTable(table));
    }
    const inUse = [...this.services].filter(([key, { count }]) =>
      count > 0 && this.#checkExtent(key)
    );
    inUse.sort(([, a], [, b]) => a.first - b.first || a.count - b.count);
    for (let i = 0; i < inUse.length;) {
      const { first, count } = inUse[i]![1];
      let end = first + count, next = i + 1, equal = true;
      for (; next < inUse.length && inUse[next]![1].first < end; next++) {
        const other = inUse[next]![1];
        equal &&= other.first === first && other.count === count;
        end = Math.max(end, other.first + other.count);
      }
      this.extents.reserve({ first, count: end - first });
      if (equal) this.#uses.set(first, next - i);
      else {
        for (const [key] of inUse.slice(i, next)) this.#invalid.add(key);
        this.#orphaned.push({ first, count: end - first });
      }
      i = next;
    }
  }

  #checkExtent(key: string): boolean {
    const { first, count } = this.services.get(key)!;
    if (first + count <= this.capacity.backends) return true;
    this.#invalid.add(key);
    return false;
  }

  /** The Maglev table of an entry; undefined when it has none. */
  tableOf(key: string): number | undefined {
    const entry = this.services.get(key);
    return entry !== undefined && entry.flags & SERVICE_FLAG.MAGLEV ? entry.table : undefined;
  }

  /** The extent of an entry; undefined when it has none or an invalid one. */
  extentOf(key: string): Extent | undefined {
    const entry = this.services.get(key);
    if (entry === undefined || entry.count === 0 || this.#invalid.has(key)) return undefined;
    return { first: entry.first, count: entry.count };
  }

  /** Counts one more entry that will use an extent. */
  use({ first }: Extent) {
    this.#uses.set(first, (this.#uses.get(first) ?? 0) + 1);
  }

  /** Counts one less. */
  unuse({ first }: Extent) {
    const left = (this.#uses.get(first) ?? 1) - 1;
    if (left > 0) this.#uses.set(first, left);
    else this.#uses.delete(first);
  }

  /** Those of `extents` that no entry uses, each once. */
  unused(extents: readonly Extent[]): Extent[] {
    const found = new Map<number, Extent>();
    for (const extent of extents) {
      if (!this.#uses.has(extent.first)) found.set(extent.first, extent);
    }
    return [...found.values()];
  }

  /** An entry is about to be replaced or deleted: it is no misfit any more. */
  forgetInvalid(key: string) {
    this.#invalid.delete(key);
  }

  /** What misfits occupied, once the last of them is gone. */
  takeOrphaned(): Extent[] {
    if (this.#invalid.size > 0) return [];
    const orphaned = this.#orphaned;
    this.#orphaned = [];
    return orphaned;
  }
}
