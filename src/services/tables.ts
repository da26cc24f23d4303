/** A copy of the Maglev tables that the `maglev` map holds: which are in use, and what is in them. */
import { ExtentAllocator } from "./extents.ts";

export interface TableWrite {
  table: number;
  /** Numbers of backends in the extent. */
  positions: Uint16Array;
}

/** A replaced table is quarantined like an extent of backends: programs may have read the entry that pointed to it. */
export class TableRegister {
  readonly allocator: ExtentAllocator;
  readonly #contents = new Map<number, Uint16Array>();
  readonly #uses = new Map<number, number>();

  /**
   * @param capacity tables that the map has room for
   * @param size positions of each
   */
  constructor(readonly capacity: number, readonly size: number, quarantineMs?: number) {
    this.allocator = new ExtentAllocator(capacity, quarantineMs);
  }

  /** An entry of the kernel points to a table. */
  load(table: number, read: () => Uint16Array) {
    if (table >= this.capacity) return;
    if (!this.#uses.has(table)) {
      this.allocator.reserve({ first: table, count: 1 });
      this.#contents.set(table, read());
    }
    this.use(table);
  }

  /** Whether a table holds this that is in use, or was until now. */
  holds(table: number, positions: Uint16Array): boolean {
    const held = this.#contents.get(table);
    return held?.length === positions.length && held.every((one, i) => one === positions[i]);
  }

  set({ table, positions }: TableWrite) {
    this.#contents.set(table, positions);
  }

  use(table: number) {
    this.#uses.set(table, (this.#uses.get(table) ?? 0) + 1);
  }

  /** One entry less points to it. */
  unuse(table: number) {
    const left = this.#uses.get(table);
    if (left === undefined) return; // beyond the map: never counted
    if (left > 1) this.#uses.set(table, left - 1);
    else this.#uses.delete(table);
  }

  /** Those of `tables` that no entry points to, each once. */
  unused(tables: Iterable<number>): number[] {
    return [...new Set(tables)].filter((table) => table < this.capacity && !this.#uses.has(table));
  }

  release(table: number, now: number) {
    this.#contents.delete(table);
    this.allocator.release({ first: table, count: 1 }, now);
  }
}
