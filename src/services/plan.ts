/**
 * Plans the changes of the maps that bring them to the desired state; apply.ts makes them. At every moment an entry points
 * to an extent with exactly its old or exactly its new backends: new extents are written first, then the entries that
 * point to them, and removals come last.
 */
import { SERVICE_FLAG } from "../abi/enums.ts";
import {
  backendsWithout,
  type Frontend,
  type FrontendKey,
  isAddressKey,
} from "../model/frontend.ts";
import type { Changes } from "./changes.ts";
import { KernelState, type ServiceEntry, totalWeight } from "./kernel.ts";
import { IdRegister } from "./ids.ts";
import type { ServiceFrontends } from "./frontends.ts";
import { type Allocation, BackendAllocator, noExtent } from "./backend_allocation.ts";
import { planRanges } from "./ranges.ts";
import type { Extent } from "./extents.ts";

/** Keys to remove unless a Service has them, by their texts; "others": every key of the map that no Service has. */
export type Removed = ReadonlyMap<string, FrontendKey> | "others";

/**
 * Plans the changes that bring `kernel` to what is desired: `add()` each Service, then `finish()`. Reserves extents and ids
 * in `kernel` and `ids`; if the changes are not applied after all, both must be read from the maps again.
 */
export class Planner {
  readonly #changes: Changes = {
    extents: [],
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
  /** Extents that lost a user; another frontend may still use them. */
  readonly #left: Extent[] = [];
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
      this.#desired.add(frontend.key.text);
      this.#ports.add(frontend.portId.text);
    }
    this.#planGroup(group);
  }

  /** The changes, once every Service was added. Yields between steps that are long in a large cluster. */
  *finish(removed: Removed): Generator<void, Changes, void> {
    const [changes, kernel] = [this.#changes, this.#kernel];
    const all = removed === "others";
    for (const text of all ? [...kernel.services.keys()] : removed.keys()) {
      const entry = kernel.services.get(text);
      if (entry !== undefined && !this.#desired.has(text)) this.#planDelete(entry);
    }
    yield;
    this.#fitServices();
    yield;
    const isAddress = ({ key }: ServiceEntry) => isAddressKey(key);
    // A Service's address entry is added after the entries of its ports, and removed before them.
    changes.services = [...partition(changes.services, isAddress)].reverse().flat();
    yield;
    changes.deletes = partition(changes.deletes, isAddressKey).flat();
    changes.freed = [...kernel.unused(this.#left), ...kernel.takeOrphaned()];
    changes.freedTables = kernel.tables.unused(this.#leftTables);
    this.#planRanges(all);
    if (all) this.#ids.retain(this.#ports);
    return changes;
  }

  #planGroup({ service, frontends }: ServiceFrontends) {
    const allocator = new BackendAllocator(frontends, this.#kernel, this.#changes, this.#now);
    for (const frontend of frontends) {
      const old = this.#kernel.services.get(frontend.key.text);
      const allocation = allocator.allocate(frontend);
      if (allocation === undefined) this.#noRoom(service, frontend, old);
      else this.#planEntry(frontend, old, allocation);
    }
  }

  #planEntry(
    frontend: Frontend,
    old: ServiceEntry | undefined,
    { extent, table }: Pick<Allocation, "extent" | "table">,
  ) {
    const [kernel, changes] = [this.#kernel, this.#changes];
    const { key } = frontend;
    const entry: ServiceEntry = {
      key,
      id: this.#ids.idOf(frontend.portId, old?.id),
      first: extent.first,
      count: extent.count,
      totalWeight: totalWeight(frontend.backends),
      affinitySeconds: frontend.affinitySeconds,
      flags: flagsOf(frontend) | (table === undefined ? 0 : SERVICE_FLAG.MAGLEV),
      table,
    };
    this.#wantRanges(entry.id, frontend.sourceRanges);
    if (old !== undefined && sameEntry(old, entry)) return;
    if (old === undefined) this.#fresh++;
    const before = kernel.extentOf(key.text);
    // The new extent first: it may be the old one.
    if (extent.count > 0) kernel.use(extent);
    if (table !== undefined) kernel.tables.use(table);
    this.#leaveTable(key);
    if (before !== undefined) {
      this.#planStale(key, before, frontend);
      this.#leave(before);
    }
    if (old !== undefined && old.id !== entry.id) this.#wantRanges(old.id, undefined);
    kernel.forgetInvalid(key.text);
    changes.services.push(entry);
  }

  #leaveTable({ text }: FrontendKey) {
    const table = this.#kernel.tableOf(text);
    if (table === undefined) return;
    this.#kernel.tables.unuse(table);
    this.#leftTables.push(table);
  }

  #planDelete({ key, id }: ServiceEntry) {
    this.#leaveTable(key);
    const before = this.#kernel.extentOf(key.text);
    if (before !== undefined) {
      this.#planStale(key, before, undefined);
      this.#leave(before);
    }
    this.#kernel.forgetInvalid(key.text);
    this.#changes.deletes.push(key);
    this.#wantRanges(id, undefined);
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
      const service = this.#ids.portOf(id)?.service ?? `${id}`;
      const message =
        `no room for its loadBalancerSourceRanges: all ${kernel.capacity.sourceRanges} ` +
        "entries are taken; some of its clients are kept out; raise mapSizes.sourceRanges";
      changes.shortages.push({ service, map: "source_ranges", message });
    }
  }

  #leave(extent: Extent) {
    this.#kernel.unuse(extent);
    this.#left.push(extent);
  }

  #planStale(frontend: FrontendKey, before: Extent, after: Frontend | undefined) {
    const held = this.#kernel.backends.keys(before);
    const lost = backendsWithout(held, after?.backends ?? []);
    if (lost.length === 0) return;
    const gone = new Set(backendsWithout(lost, after?.draining ?? []));
    const backends = lost.map((backend) => ({ ...backend, gone: gone.has(backend) }));
    this.#changes.stale.push({ frontend, backends });
  }

  #noRoom(service: string, frontend: Frontend, old: ServiceEntry | undefined) {
    const { free, longest, quarantined } = this.#kernel.extents.room;
    const message = `no room for ${frontend.backends.length} backends: of ` +
      `${this.#kernel.capacity.backends}, ${free} are free (at most ${longest} in a row), ` +
      `${quarantined} quarantined; raise mapSizes.backends`;
    this.#changes.shortages.push({ service, map: "backends", message });
    if (old === undefined) {
      this.#planEntry({ ...frontend, backends: [] }, old, { extent: noExtent });
    } else this.#wantRanges(old.id, frontend.sourceRanges);
  }

  /** Makes room for new entries: deletes first if need be, and leaves out the last ones if that is not enough. */
  #fitServices() {
    const [changes, kernel] = [this.#changes, this.#kernel];
    const room = kernel.capacity.services - kernel.services.size;
    changes.deletesFirst = this.#fresh > room;
    let excess = this.#fresh - room - changes.deletes.length;
    if (excess <= 0) return;
    const kept: ServiceEntry[] = [], left = new Set<number>();
    for (const entry of changes.services.toReversed()) {
      const { text } = entry.key;
      if (excess <= 0 || kernel.services.has(text)) {
        kept.push(entry);
        continue;
      }
      excess--;
      if (entry.count > 0) this.#leave({ first: entry.first, count: entry.count });
      if (entry.table !== undefined) {
        kernel.tables.unuse(entry.table);
        this.#leftTables.push(entry.table);
      }
      const service = this.#ids.portOf(entry.id)?.service ?? text;
      const message = `no room for ${text}: all ${kernel.capacity.services} entries are taken; ` +
        "raise mapSizes.services";
      changes.shortages.push({ service, map: "services", message });
      if (this.#ranges.has(entry.id)) left.add(entry.id);
    }
    changes.services = kept.reverse();
    if (left.size > 0) this.#dropRanges(left);
  }

  /** Entries of these ports were left out: their ranges go too unless another entry of the port asks for them. */
  #dropRanges(ids: ReadonlySet<number>) {
    const [kernel, changes] = [this.#kernel, this.#changes];
    const deleted = new Set(changes.deletes.map(({ text }) => text));
    const used = new Set(changes.services.map(({ id }) => id));
    for (const [text, { id }] of kernel.services) if (!deleted.has(text)) used.add(id);
    for (const id of ids) if (!used.has(id)) this.#ranges.set(id, []);
  }
}

/** Those that pass, then those that do not, each in their order. */
function partition<T>(items: readonly T[], passes: (item: T) => boolean): [T[], T[]] {
  const sorted: [T[], T[]] = [[], []];
  for (const item of items) sorted[passes(item) ? 0 : 1].push(item);
  return sorted;
}

function flagsOf({ key, localOnly, sourceRanges }: Frontend): number {
  return (isAddressKey(key) ? SERVICE_FLAG.ADDRESS : 0) |
    (sourceRanges === undefined ? 0 : SERVICE_FLAG.SOURCE_RANGES) |
    (localOnly ? SERVICE_FLAG.LOCAL_ONLY : 0);
}

function sameEntry(a: ServiceEntry, b: ServiceEntry): boolean {
  return a.id === b.id && a.first === b.first && a.count === b.count &&
    a.totalWeight === b.totalWeight && a.affinitySeconds === b.affinitySeconds &&
    a.flags === b.flags && a.table === b.table;
}
