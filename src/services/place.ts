/**
 * Where the backends of a Service's frontends are in the kernel's arrays, or will be: a run of the backends map, and a
 * Maglev table where one is asked for. What is there already is taken up; frontends with the same list share it.
 */
import type { Backend, Frontend } from "../model/frontend.ts";
import type { Changes } from "./changes.ts";
import type { KernelState } from "./kernel.ts";
import { maglevTable } from "./maglev.ts";
import type { Run } from "./runs.ts";

/** One list of backends of a Service, and the run that holds it. */
export interface Placed {
  backends: readonly Backend[];
  run: Run;
  /** The Maglev table, where one is asked for and there is room. */
  table?: number;
}

export const noRun: Run = { first: 0, count: 0 };

/** Places the frontends of one Service. What has to be written for it goes into `changes`. */
export class Placer {
  readonly #placed: Placed[] = [];

  readonly #all: readonly Frontend[];
  readonly #kernel: KernelState;
  readonly #changes: Pick<Changes, "runs" | "tables" | "shortages">;
  readonly #now: number;

  /** @param now milliseconds of any clock that does not go back */
  constructor(
    all: readonly Frontend[],
    kernel: KernelState,
    changes: Pick<Changes, "runs" | "tables" | "shortages">,
    now: number,
  ) {
    this.#all = all;
    this.#kernel = kernel;
    this.#changes = changes;
    this.#now = now;
  }

  /** Where the frontend's backends are or will be; undefined when there is no room for them. */
  place(frontend: Frontend): Placed | undefined {
    const { backends } = frontend;
    if (backends.length === 0) return { backends, run: noRun };
    const same = this.#placed.find((other) => sameBackends(other.backends, backends));
    if (same !== undefined) return same;
    const run = this.#existingRun(frontend) ?? this.#newRun(backends);
    if (run === undefined) return undefined;
    const place: Placed = { backends, run };
    if (frontend.maglev) this.#placeTable(place, frontend);
    this.#placed.push(place);
    return place;
  }

  /** A table for the list: one that is there already, or a new one. Without room clients are spread at random. */
  #placeTable(place: Placed, frontend: Frontend) {
    const { tables, capacity } = this.#kernel;
    const { backends } = place;
    const short = (message: string) =>
      this.#changes.shortages.push({ service: frontend.portId.service, map: "maglev", message });
    if (capacity.maglev === undefined) return;
    if (backends.length > tables.size) {
      return short(`${backends.length} backends are too many for a Maglev table of ${tables.size}`);
    }
    const places = maglevTable(backends, tables.size);
    // Its own table before that of another frontend: lists that differ may come to the same table.
    const known = [frontend, ...this.#all].map((one) => this.#kernel.tableOf(one.key.text))
      .find((table) => table !== undefined && tables.holds(table, places));
    const table = known ?? tables.allocator.allocate(1, this.#now);
    if (table === undefined) return short(`all ${tables.capacity} Maglev tables are taken`);
    place.table = table;
    if (known === undefined) this.#changes.tables.push({ table, places });
  }

  /** A run of the Service that already holds the list: the frontend's own, or that of another frontend. */
  #existingRun(frontend: Frontend): Run | undefined {
    const { backends } = frontend;
    for (const { key } of [frontend, ...this.#all]) {
      const run = this.#kernel.runOf(key.text);
      if (run?.count !== backends.length) continue;
      if (this.#kernel.backends.holds(run.first, backends)) return run;
    }
    return undefined;
  }

  #newRun(backends: readonly Backend[]): Run | undefined {
    const { length: count } = backends;
    const first = this.#kernel.runs.allocate(count, this.#now);
    if (first === undefined) return undefined;
    this.#changes.runs.push({ first, backends });
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
