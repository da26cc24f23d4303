/** The kernel's maps as the services layer sees them: writing changes, and reading back what they hold. */
import { SERVICE_FLAG } from "../../abi/enums.ts";
import { lookupBatch } from "../../bpf/batch.ts";
import type { Field } from "../../bpf/codec.ts";
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import {
  type Backend as BackendValue,
  backend,
  maglevSlots,
  type SourceRangeKey,
} from "../../bpf/layout.ts";
import { mapInfo } from "../../bpf/syscall.ts";
import { type FrontendKey, frontendKey } from "../../model/frontend.ts";
import type { MapWriter } from "../../services/apply.ts";
import { KernelState, type ServiceEntry, toEntries } from "../../services/kernel.ts";
import { MAGLEV_SIZE, maglevElements, packMaglev } from "../../services/maglev.ts";
import type { ExtentWrite } from "../../services/changes.ts";
import type { SourceRange } from "../../services/ranges.ts";
import type { TableWrite } from "../../services/tables.ts";
import { readValue } from "../../net/address.ts";
import { parseInterface } from "../../net/prefix.ts";

type ServiceMaps = Pick<DataPlaneMaps, "services" | "backends" | "source_ranges" | "maglev">;

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Where a member of a struct lies. */
export function offsetOf(fields: readonly Field[], name: string): number {
  const field = fields.find((one) => one.name === name);
  if (field === undefined) throw new TypeError(`no member ${name}`);
  return field.offset;
}

/** Writes changes into the maps, in batches. */
export class KernelWriter implements MapWriter {
  readonly #maps: ServiceMaps;

  constructor(maps: ServiceMaps) {
    this.#maps = maps;
  }

  writeExtents(extents: readonly ExtentWrite[]) {
    this.#maps.backends.setBatch(elements(extents));
  }

  writeTables(tables: readonly TableWrite[]) {
    this.#maps.maglev.setBatch(tables.flatMap(({ table, positions }) => {
      const first = table * maglevElements(MAGLEV_SIZE);
      return [...packMaglev(positions)].map((value, i) => [first + i, value] as const);
    }));
  }

  writeServices(services: readonly ServiceEntry[]) {
    this.#maps.services.setBatch(services.map((entry) =>
      [entry.key, {
        id: entry.id,
        first: entry.first,
        count: entry.count,
        total_weight: entry.totalWeight,
        affinity_seconds: entry.affinitySeconds,
        flags: entry.flags,
        table: entry.table ?? 0,
      }] as const
    ));
  }

  deleteServices(keys: readonly FrontendKey[]) {
    this.#maps.services.deleteBatch(keys);
  }

  // One by one: longest-prefix maps have no batches before Linux 5.14, and ranges are few.
  writeRanges(ranges: readonly SourceRange[]) {
    for (const range of ranges) this.#maps.source_ranges.set(rangeKey(range), 0);
  }

  deleteRanges(ranges: readonly SourceRange[]) {
    for (const range of ranges) this.#maps.source_ranges.delete(rangeKey(range));
  }
}

/** The id is the first 32 bits of the prefix. */
function rangeKey({ id, prefix }: SourceRange): SourceRangeKey {
  const { address, length } = parseInterface(prefix, 4);
  return { prefixlen: 32 + length, service_id: id, addr: address };
}

function* elements(extents: readonly ExtentWrite[]): Generator<[number, BackendValue]> {
  for (const { first, backends } of extents) {
    let i = first;
    for (const { addr, port, flags, weightEnd } of toEntries(backends)) {
      yield [i++, { addr, port, flags, weight_end: weightEnd }];
    }
  }
}

/** Reads back what the maps hold. Yields between maps. */
export function* readKernel(
  maps: ServiceMaps,
  quarantineMs?: number,
): Generator<void, KernelState, void> {
  const capacity = {
    services: maps.services.maxEntries,
    backends: maps.backends.maxEntries,
    sourceRanges: maps.source_ranges.maxEntries,
    maglev: {
      // The entries of services name a table in 16 bits.
      tables: Math.min(0x10000, Math.floor(maps.maglev.maxEntries / maglevElements(MAGLEV_SIZE))),
      size: MAGLEV_SIZE,
    },
  };
  const kernel = new KernelState(capacity, quarantineMs);
  const services = readServices(maps);
  yield;
  readBackends(maps.backends, endOf(services, capacity.backends), (...element) => {
    kernel.backends.set(...element);
  });
  yield;
  kernel.load(services, (table) => readTable(maps.maglev, table));
  yield;
  for (const [{ prefixlen, service_id, addr }] of maps.source_ranges.entries()) {
    kernel.ranges.add({ id: service_id, prefix: `${addr}/${prefixlen - 32}` });
  }
  return kernel;
}

function readServices(maps: ServiceMaps): ServiceEntry[] {
  return maps.services.entries().map(([key, value]): ServiceEntry => ({
    key: frontendKey(key.addr, key.port, key.proto, key.scope),
    id: value.id,
    first: value.first,
    count: value.count,
    totalWeight: value.total_weight,
    affinitySeconds: value.affinity_seconds,
    flags: value.flags,
    table: value.flags & SERVICE_FLAG.MAGLEV ? value.table : undefined,
  }));
}

/** The array's elements that services use end before this one. */
function endOf(services: Iterable<ServiceEntry>, capacity: number): number {
  let end = 0;
  for (const { first, count } of services) end = Math.max(end, first + count);
  return Math.min(end, capacity);
}

/** Since this process wrote last, and at most since all was compared, until that is done again, in milliseconds. */
const REST_MS = 2000, LONGEST_MS = 60_000;

/**
 * Compares the maps with what they hold according to a `KernelState`: once, and after that only fingerprints, which take a tenth of
 * the time and leave no garbage. After each write of this process all has to be compared again, which stops it for a tenth of
 * a second where 100,000 backends are: not while changes come, but once a minute. Times are of `Clock`.
 */
export class AlterationCheck {
  #whole = "";
  #writtenAt = -Infinity;
  #comparedAt = -Infinity;
  /** Elements of `backends` up to the last one in use. */
  #end = 0;
  readonly #maps: ServiceMaps;

  constructor(maps: ServiceMaps) {
    this.#maps = maps;
  }

  /** This process has written. */
  forget(now: number): void {
    this.#whole = "";
    this.#writtenAt = now;
  }

  /** Whether to compare, or rather later. */
  isDue(now: number): boolean {
    return this.#whole !== "" || now - this.#writtenAt >= REST_MS ||
      now - this.#comparedAt >= LONGEST_MS;
  }

  /** Whether another program changed something. Maglev tables are not compared. */
  isAltered(kernel: KernelState, now: number): boolean {
    if (this.#fingerprint() === this.#whole) return false;
    this.#comparedAt = now;
    this.#end = endOf(kernel.services.values(), kernel.capacity.backends);
    const held = this.#fingerprint();
    const altered = isAltered(this.#maps, kernel);
    this.#whole = altered ? "" : held;
    return altered;
  }

  #fingerprint(): string {
    const { services, source_ranges, backends } = this.#maps;
    return [
      services.fingerprint(),
      source_ranges.fingerprint(),
      backends.fingerprint(this.#end),
    ].join();
  }
}

/** Whether another program changed what the maps hold according to `kernel`. Maglev tables are not compared. */
function isAltered(maps: ServiceMaps, kernel: KernelState): boolean {
  const services = readServices(maps);
  if (services.length !== kernel.services.size) return true;
  const same = services.every((entry) => sameEntry(entry, kernel.services.get(entry.key.text)));
  if (!same || maps.source_ranges.count() !== kernel.ranges.size) return true;
  const end = endOf(services, kernel.capacity.backends);
  const inUse = new Uint8Array(end);
  for (const { first, count } of services) inUse.fill(1, first, first + count);
  let altered = false;
  readBackends(maps.backends, end, (index, ...element) => {
    altered ||= inUse[index] === 1 && !kernel.backends.is(index, ...element);
  });
  return altered;
}

function sameEntry(a: ServiceEntry, b: ServiceEntry | undefined): boolean {
  return a.id === b?.id && a.first === b.first && a.count === b.count &&
    a.totalWeight === b.totalWeight && a.affinitySeconds === b.affinitySeconds &&
    a.flags === b.flags && a.table === b.table;
}

function readTable(map: ServiceMaps["maglev"], table: number): Uint16Array {
  const elements = maglevElements(MAGLEV_SIZE);
  const positions: number[] = [];
  lookupBatch(map, mapInfo(map.fd), table * elements, elements, (_, values, count) => {
    for (let i = 0; i < count; i++) {
      positions.push(...maglevSlots.decode(values, i * maglevSlots.size).backend);
    }
  });
  return Uint16Array.from(positions.slice(0, MAGLEV_SIZE));
}

/** The array's first `count` elements, without an object for each. */
function readBackends(
  map: ServiceMaps["backends"],
  count: number,
  take: (...element: Parameters<KernelState["backends"]["set"]>) => void,
) {
  const at = (name: string) => offsetOf(backend.fields, name);
  const [addr, port, flags, weightEnd] = [at("addr"), at("port"), at("flags"), at("weight_end")];
  let index = 0;
  lookupBatch(map, mapInfo(map.fd), 0, count, (_, values, got) => {
    for (let base = 0; base < got * backend.size; base += backend.size) {
      take(
        index++,
        readValue(values, base + addr, 4),
        values.getUint16(base + port),
        values.getUint8(base + flags),
        values.getUint32(base + weightEnd, LITTLE),
      );
    }
  });
}
