/**
 * What has to change in the kernel's maps so that they hold what is desired. Nothing here does it; apply.ts does, in
 * an order in which every entry points, at every moment, to a run that holds exactly its old or exactly its new
 * backends: new runs are written first, then the entries that point to them, and only then is anything taken away.
 */
import { frontendKey, isAddressKey } from "../model/frontend.ts";
import type { Frontend } from "../model/frontend.ts";
import type { Changes, ServiceWrite } from "./changes.ts";
import { KernelState, SERVICE_FLAG, type ServiceEntry, totalWeight } from "./kernel.ts";
import { IdRegister } from "./ids.ts";
import type { ServiceFrontends } from "./frontends.ts";
import { noRun, type Placed, Placer, serviceOf } from "./place.ts";
import { planRanges } from "./ranges.ts";
import type { Run } from "./runs.ts";

/** Keys that go unless a Service has them; "others": every key of the kernel that no Service has. */
export type Removed = ReadonlySet<string> | "others";

/**
 * Plans the changes that bring `kernel` to what is desired: `add()` each Service, then `finish()`. Reserves runs and ids
 * in `kernel` and `ids`; if the changes are not applied after all, both must be read from the maps again.
 */
export class Planner {
  readonly #changes: Changes = {
    runs: [],
    tables: [],
    services: [],
    ranges: { add: [], remove: [] },
    deletesFirst: false,
    deletes: [],
    freed: [],
    freedTables: [],
    stale: [],
    shortages: [],
  };
  readonly #desired = new Set<string>();
  readonly #ports = new Set<string>();
  /** Runs that lost a user; another frontend may take them up yet. */
  readonly #left: Run[] = [];
  readonly #leftTables: number[] = [];
  /** Source ranges by id: of all ids that have or had some. */
  readonly #ranges = new Map<number, readonly string[]>();
  #fresh = 0;

  readonly #kernel: KernelState;
  readonly #ids: IdRegister;
  readonly #now: number;

  /** @param now milliseconds of any clock that does not go back */
  constructor(
    kernel: KernelState,
    ids: IdRegister,
    now: number,
  ) {
    this.#kernel = kernel;
    this.#ids = ids;
    this.#now = now;
  }

  /** All frontends of one Service. */
  add(group: ServiceFrontends) {
    for (const frontend of group.frontends) {
      this.#desired.add(frontendKey(frontend));
      this.#ports.add(frontend.portId);
    }
    this.#planGroup(group);
  }

  /** The changes, once every Service was added. */
  finish(removed: Removed): Changes {
    const [changes, kernel] = [this.#changes, this.#kernel];
    const all = removed === "others";
    for (const key of all ? [...kernel.services.keys()] : removed) {
      if (!this.#desired.has(key) && kernel.services.has(key)) this.#planDelete(key);
    }
    this.#fitServices();
    const isAddress = ({ key }: ServiceWrite) => isAddressKey(key);
    // A service is announced when its ports are there, and its ports go when nothing announces it.
    changes.services = [...partition(changes.services, isAddress)].reverse().flat();
    changes.deletes = partition(changes.deletes, isAddressKey).flat();
    changes.freed = [...kernel.unused(this.#left), ...kernel.takeDebris()];
    changes.freedTables = kernel.tables.unused(this.#leftTables);
    this.#planRanges(all);
    if (all) this.#ids.retain(this.#ports);
    return changes;
  }

  #planGroup({ service, frontends }: ServiceFrontends) {
    const placer = new Placer(frontends, this.#kernel, this.#changes, this.#now);
    for (const frontend of frontends) {
      const key = frontendKey(frontend);
      const old = this.#kernel.services.get(key);
      const place = placer.place(frontend, key);
      if (place === undefined) {
        this.#noRoom(service, frontend, key, old);
        continue;
      }
      this.#planEntry(frontend, key, old, place);
    }
  }

  #planEntry(
    frontend: Frontend,
    key: string,
    old: ServiceEntry | undefined,
    { run, table }: Pick<Placed, "run" | "table">,
  ) {
    const [kernel, changes] = [this.#kernel, this.#changes];
    const entry: ServiceEntry = {
      id: this.#ids.idOf(frontend.portId, old?.id),
      first: run.first,
      count: run.count,
      totalWeight: totalWeight(frontend.backends),
      affinitySeconds: frontend.affinitySeconds,
      flags: flagsOf(frontend) | (table === undefined ? 0 : SERVICE_FLAG.maglev),
      ...(table === undefined ? {} : { table }),
    };
    this.#wantRanges(entry.id, frontend.sourceRanges);
    if (old !== undefined && sameEntry(old, entry)) return;
    if (old === undefined) this.#fresh++;
    const before = kernel.runOf(key);
    // The new run first: it may be the old one.
    if (run.count > 0) kernel.use(run);
    if (table !== undefined) kernel.tables.use(table);
    this.#leaveTable(key);
    if (before !== undefined) {
      this.#planStale(key, before, frontend);
      this.#leave(before);
    }
    if (old !== undefined && old.id !== entry.id) this.#wantRanges(old.id, undefined);
    kernel.forgetMisfit(key);
    changes.services.push({ key, entry });
  }

  #leaveTable(key: string) {
    const table = this.#kernel.tableOf(key);
    if (table === undefined) return;
    this.#kernel.tables.unuse(table);
    this.#leftTables.push(table);
  }

  #planDelete(key: string) {
    this.#leaveTable(key);
    const before = this.#kernel.runOf(key);
    if (before !== undefined) {
      this.#planStale(key, before, undefined);
      this.#leave(before);
    }
    this.#kernel.forgetMisfit(key);
    this.#changes.deletes.push(key);
    this.#wantRanges(this.#kernel.services.get(key)!.id, undefined);
  }

  /** The frontends of a port have its id, and those that have ranges have the same ones. */
  #wantRanges(id: number, ranges: readonly string[] | undefined) {
    if (ranges !== undefined) this.#ranges.set(id, ranges);
    else if (this.#kernel.ranges.has(id) && !this.#ranges.has(id)) this.#ranges.set(id, []);
  }

  #planRanges(all: boolean) {
    const [kernel, changes] = [this.#kernel, this.#changes];
    if (all) { for (const id of kernel.ranges.ids()) this.#wantRanges(id, undefined); }
    const { short, ...ranges } = planRanges(this.#ranges, kernel.ranges);
    changes.ranges = ranges;
    for (const id of short) {
      const service = serviceOf(this.#ids.portOf(id) ?? `${id}`);
      const message =
        `no room for its loadBalancerSourceRanges: all ${kernel.capacity.sourceRanges} ` +
        "entries are taken; some of its clients are kept out; raise mapSizes.sourceRanges";
      changes.shortages.push({ service, map: "source_ranges", message });
    }
  }

  #leave(run: Run) {
    this.#kernel.unuse(run);
    this.#left.push(run);
  }

  #planStale(key: string, before: Run, after: Frontend | undefined) {
    const keep = new Set(after?.backends.map(({ key }) => key));
    const draining = new Set(after?.draining.map(({ key }) => key));
    const backends = new Map<number, boolean>();
    for (const backend of this.#kernel.backends.keys(before)) {
      if (!keep.has(backend)) backends.set(backend, !draining.has(backend));
    }
    if (backends.size > 0) this.#changes.stale.push({ frontend: key, backends });
  }

  #noRoom(service: string, frontend: Frontend, key: string, old: ServiceEntry | undefined) {
    const { free, longest, resting } = this.#kernel.runs.room;
    const message = `no room for ${frontend.backends.length} backends: of ` +
      `${this.#kernel.capacity.backends}, ${free} are free (at most ${longest} in a row), ` +
      `${resting} soon; raise mapSizes.backends`;
    this.#changes.shortages.push({ service, map: "backends", message });
    if (old === undefined) this.#planEntry({ ...frontend, backends: [] }, key, old, { run: noRun });
    else this.#wantRanges(old.id, frontend.sourceRanges);
  }

  /** Sees to it that new entries fit: after the deletes if need be, or the last ones not at all. */
  #fitServices() {
    const [changes, kernel] = [this.#changes, this.#kernel];
    const room = kernel.capacity.services - kernel.services.size;
    changes.deletesFirst = this.#fresh > room;
    let excess = this.#fresh - room - changes.deletes.length;
    for (let i = changes.services.length - 1; i >= 0 && excess > 0; i--) {
      const { key, entry } = changes.services[i]!;
      if (kernel.services.has(key)) continue;
      excess--;
      changes.services.splice(i, 1);
      if (entry.count > 0) this.#leave({ first: entry.first, count: entry.count });
      if (entry.table !== undefined) {
        kernel.tables.unuse(entry.table);
        this.#leftTables.push(entry.table);
      }
      const service = serviceOf(this.#ids.portOf(entry.id) ?? key);
      const message = `no room for ${key}: all ${kernel.capacity.services} entries are taken; ` +
        "raise mapSizes.services";
      changes.shortages.push({ service, map: "services", message });
      this.#dropRanges(entry.id);
    }
  }

  /** An entry was left out: its ranges go too unless another entry of the port asks for them. */
  #dropRanges(id: number) {
    if (!this.#ranges.has(id)) return;
    const [kernel, changes] = [this.#kernel, this.#changes];
    const deleted = new Set(changes.deletes);
    const used = changes.services.some(({ entry }) => entry.id === id) ||
      [...kernel.services].some(([key, entry]) => entry.id === id && !deleted.has(key));
    if (!used) this.#ranges.set(id, []);
  }
}

/** Those that pass, then those that do not, each in their order. */
function partition<T>(items: readonly T[], passes: (item: T) => boolean): [T[], T[]] {
  const sorted: [T[], T[]] = [[], []];
  for (const item of items) sorted[passes(item) ? 0 : 1].push(item);
  return sorted;
}

function flagsOf({ proto, localOnly, sourceRanges }: Frontend): number {
  return (proto === 0 ? SERVICE_FLAG.address : 0) |
    (sourceRanges === undefined ? 0 : SERVICE_FLAG.sourceRanges) |
    (localOnly ? SERVICE_FLAG.localOnly : 0);
}

function sameEntry(a: ServiceEntry, b: ServiceEntry): boolean {
  return a.id === b.id && a.first === b.first && a.count === b.count &&
    a.totalWeight === b.totalWeight && a.affinitySeconds === b.affinitySeconds &&
    a.flags === b.flags && a.table === b.table;
}
