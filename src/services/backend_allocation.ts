/**
 * Where the backends of a Service's frontends are in the kernel's arrays, or will be: an extent of the backends map, and a
 * Maglev table where one is asked for. An extent or table that holds the list already is used again; frontends with equal lists share it.
 */
import type { Backend, Frontend } from "../model/frontend.ts";
import type { Changes } from "./changes.ts";
import type { KernelState } from "./kernel.ts";
import { maglevTable } from "./maglev.ts";
import type { Extent } from "./extents.ts";

/** One list of backends of a Service, and the extent that holds it. */
export interface Allocation {
  backends: readonly Backend[];
  extent: Extent;
  /** The Maglev table, where one is asked for and there is room. */
  table?: number;
}

export const noExtent: Extent = { first: 0, count: 0 };

/** Finds or allocates extents and tables for the frontends of one Service; adds the writes to `changes`. */
export class BackendAllocator {
  readonly #allocations: Allocation[] = [];

  readonly #all: readonly Frontend[];
  readonly #kernel: KernelState;
  readonly #changes: Pick<Changes, "extents" | "tables" | "shortages">;
  readonly #now: number;

  /** @param now milliseconds of any clock that does not go back */
  constructor(
    all: readonly Frontend[],
    kernel: KernelState,
    changes: Pick<Changes, "extents" | "tables" | "shortages">,
    now: number,
  ) {
    this.#all = all;
    this.#kernel = kernel;
    this.#changes = changes;
    this.#now = now;
  }

  /** Where the frontend's backends are or will be; undefined when there is no room for them. */
  allocate(frontend: Frontend): Allocation | undefined {
    const { backends } = frontend;
    if (backends.length === 0) return { backends, extent: noExtent };
    const same = this.#allocations.find((other) => sameBackends(other.backends, backends));
    if (same !== undefined) return same;
    const extent = this.#existingExtent(frontend) ?? this.#newExtent(backends);
    if (extent === undefined) return undefined;
    const allocation: Allocation = { backends, extent };
    if (frontend.maglev) this.#allocateTable(allocation, frontend);
    this.#allocations.push(allocation);
    return allocation;
  }

  /** A table for the list: one that is there already, or a new one. Without room clients are spread at random. */
  #allocateTable(allocation: Allocation, frontend: Frontend) {
    const { tables, capacity } = this.#kernel;
    const { backends } = allocation;
    const short = (message: string) =>
      this.#changes.shortages.push({ service: frontend.portId.service, map: "maglev", message });
    if (capacity.maglev === undefined) return;
    if (backends.length > tables.size) {
      return short(`${backends.length} backends are too many for a Maglev table of ${tables.size}`);
    }
    const positions = maglevTable(backends, tables.size);
    // Its own table before that of another frontend: lists that differ may come to the same table.
    const known = [frontend, ...this.#all].map((one) => this.#kernel.tableOf(one.key.text))
      .find((table) => table !== undefined && tables.holds(table, positions));
    const table = known ?? tables.allocator.allocate(1, this.#now);
    if (table === undefined) return short(`all ${tables.capacity} Maglev tables are taken`);
    allocation.table = table;
    if (known === undefined) this.#changes.tables.push({ table, positions });
  }

  /** An extent of the Service that already holds the list: the frontend's own, or that of another frontend. */
  #existingExtent(frontend: Frontend): Extent | undefined {
    const { backends } = frontend;
    for (const { key } of [frontend, ...this.#all]) {
      const extent = this.#kernel.extentOf(key.text);
      if (extent?.count !== backends.length) continue;
      if (this.#kernel.backends.holds(extent.first, backends)) return extent;
    }
    return undefined;
  }

  #newExtent(backends: readonly Backend[]): Extent | undefined {
    const { length: count } = backends;
    const first = this.#kernel.extents.allocate(count, this.#now);
    if (first === undefined) return undefined;
    this.#changes.extents.push({ first, backends });
    return { first, count };
  }
}

function sameBackends(a: readonly Backend[], b: readonly Backend[]): boolean {
  return a === b || (a.length === b.length && a.every((one, i) => {
    const other = b[i]!;
    return one.value === other.value && one.port === other.port && one.weight === other.weight &&
      one.terminating === other.terminating;
  }));
}
