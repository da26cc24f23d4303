/** For tests: maps that are filled one element at a time. */
import { SERVICE_FLAG } from "../abi/enums.ts";
import type { FrontendKey } from "../model/frontend.ts";
import { addressValue } from "../net/address.ts";
import type { MapWriter } from "./apply.ts";
import type { BackendEntry, Capacity, ServiceEntry } from "./kernel.ts";
import { KernelState, toEntries } from "./kernel.ts";
import type { ExtentWrite } from "./changes.ts";
import type { SourceRange } from "./ranges.ts";
import type { TableWrite } from "./tables.ts";

/** `addr:port weightEnd flags` of each backend, behind the entry's own properties; then the Maglev table. */
export type Contents = string;

export class SimulatedMaps implements MapWriter {
  /** By the texts of their keys. */
  readonly services = new Map<string, ServiceEntry>();
  readonly backends: BackendEntry[];
  readonly tables = new Map<number, Uint16Array>();
  /** `id prefix`. */
  readonly ranges = new Set<string>();
  writes = 0;
  /** Called after every single element that is written or deleted. */
  onStep: () => void = () => {};

  constructor(readonly capacity: Capacity) {
    this.backends = Array.from({ length: capacity.backends }, blank);
  }

  writeExtents(extents: readonly ExtentWrite[]) {
    for (const { first, backends } of extents) {
      let i = first;
      for (const entry of toEntries(backends)) {
        if (i >= this.capacity.backends) throw new Error("E2BIG");
        const { addr, port, flags, weightEnd } = entry;
        this.backends[i++] = { addr, port, flags, weightEnd };
        this.#step();
      }
    }
  }
  writeTables(tables: readonly TableWrite[]) {
    for (const { table, positions } of tables) {
      if (table >= (this.capacity.maglev?.tables ?? 0)) throw new Error("E2BIG");
      this.tables.set(table, positions);
      this.#step();
    }
  }
  writeServices(services: readonly ServiceEntry[]) {
    for (const entry of services) {
      const key = entry.key.text;
      if (!this.services.has(key) && this.services.size >= this.capacity.services) {
        throw new Error("E2BIG");
      }
      this.services.set(key, { ...entry });
      this.#step();
    }
  }
  deleteServices(keys: readonly FrontendKey[]) {
    for (const { text } of keys) {
      this.services.delete(text);
      this.#step();
    }
  }
  writeRanges(ranges: readonly SourceRange[]) {
    for (const { id, prefix } of ranges) {
      this.ranges.add(`${id} ${prefix}`);
      this.#step();
    }
  }
  deleteRanges(ranges: readonly SourceRange[]) {
    for (const { id, prefix } of ranges) {
      this.ranges.delete(`${id} ${prefix}`);
      this.#step();
    }
  }
  #step() {
    this.writes++;
    this.onStep();
  }

  /** What a program finds that has read `entry`. */
  contentsOf(entry: ServiceEntry): Contents {
    const extent = Array.from(
      { length: entry.count },
      (_, i) => this.backends[entry.first + i] ?? blank(),
    );
    const list = extent.map(({ addr, port, weightEnd, flags }) =>
      `${addr}:${port} ${weightEnd} ${flags}`
    );
    const table = entry.flags & SERVICE_FLAG.MAGLEV
      ? [`table ${this.tables.get(entry.table ?? -1)?.join(" ")}`]
      : [];
    const head = `${entry.totalWeight} ${entry.affinitySeconds} ${entry.flags}`;
    return [head, ...list, ...table].join(", ");
  }

  /** The prefixes that an entry leads to; undefined: it does not ask for any. */
  rangesOf({ id, flags }: ServiceEntry): string[] | undefined {
    if ((flags & SERVICE_FLAG.SOURCE_RANGES) === 0) return undefined;
    const own = [...this.ranges].map((one) => one.split(" ")).filter(([of]) => of === `${id}`);
    return own.map(([, prefix]) => prefix!).sort();
  }

  contents(): Map<string, Contents> {
    return new Map([...this.services].map(([key, entry]) => [key, this.contentsOf(entry)]));
  }

  allRanges(): Map<string, string[] | undefined> {
    return new Map([...this.services].map(([key, entry]) => [key, this.rangesOf(entry)]));
  }

  /** A copy as an agent reads it at its start. */
  read(quarantineMs: number): KernelState {
    const kernel = new KernelState(this.capacity, quarantineMs);
    this.backends.forEach(({ addr, port, flags, weightEnd }, i) =>
      kernel.backends.set(i, addressValue(addr), port, flags, weightEnd)
    );
    for (const range of this.ranges) {
      const [id, prefix = ""] = range.split(" ");
      kernel.ranges.add({ id: Number(id), prefix });
    }
    kernel.load(
      [...this.services.values()].map((entry) => ({ ...entry })),
      (table) => this.tables.get(table) ?? new Uint16Array(),
    );
    return kernel;
  }
}

function blank(): BackendEntry {
  return { addr: "0.0.0.0", port: 0, flags: 0, weightEnd: 0 };
}
