/** Applies planned changes to the maps and, step by step, to the copy of them. */
import type { FrontendKey } from "../model/frontend.ts";
import type { Changes, ExtentWrite } from "./changes.ts";
import type { KernelState, ServiceEntry } from "./kernel.ts";
import type { SourceRange } from "./ranges.ts";
import type { TableWrite } from "./tables.ts";

/** What writes the maps. Each method writes all it is given, or throws. */
export interface MapWriter {
  writeExtents(extents: readonly ExtentWrite[]): void;
  writeTables(tables: readonly TableWrite[]): void;
  writeServices(services: readonly ServiceEntry[]): void;
  /** One that is not there is no error. */
  deleteServices(keys: readonly FrontendKey[]): void;
  writeRanges(ranges: readonly SourceRange[]): void;
  /** One that is not there is no error. */
  deleteRanges(ranges: readonly SourceRange[]): void;
}

/** Entries in one batch: they take some milliseconds. */
const batchSize = 8192;

/**
 * Applies changes of a `Planner`. Yields between batches and steps.
 *
 * @param now gives milliseconds of the clock that the `Planner` has
 * @throws what the writer throws; then the copy may differ from the maps and must be read again
 */
export function* applyChanges(
  changes: Changes,
  kernel: KernelState,
  writer: MapWriter,
  now: () => number,
): Generator<void, void, void> {
  for (const extents of batches(changes.extents, ({ backends }) => backends.length)) {
    writer.writeExtents(extents);
    for (const { first, backends } of extents) kernel.backends.setExtent(first, backends);
    yield;
  }
  const { ranges, tables } = changes;
  if (tables.length > 0) writer.writeTables(tables);
  for (const write of tables) kernel.tables.set(write);
  if (ranges.add.length > 0) writer.writeRanges(ranges.add);
  for (const range of ranges.add) kernel.ranges.add(range);
  if (changes.deletesFirst) yield* remove(changes, kernel, writer);
  for (const services of batches(changes.services, () => 1)) {
    writer.writeServices(services);
    for (const entry of services) kernel.services.set(entry.key.text, entry);
    yield;
  }
  if (!changes.deletesFirst) yield* remove(changes, kernel, writer);
  if (ranges.remove.length > 0) writer.deleteRanges(ranges.remove);
  for (const range of ranges.remove) kernel.ranges.remove(range);
  const released = now(); // from now on no program can find them
  for (const extent of changes.freed) kernel.extents.release(extent, released);
  for (const table of changes.freedTables) kernel.tables.release(table, released);
}

function* batches<T>(items: readonly T[], sizeOf: (item: T) => number): Generator<readonly T[]> {
  for (let first = 0, end = 0, size = 0; first < items.length; first = end, size = 0) {
    while (end < items.length && size < batchSize) size += sizeOf(items[end++]!);
    yield first === 0 && end === items.length ? items : items.slice(first, end);
  }
}

function* remove({ deletes }: Changes, kernel: KernelState, writer: MapWriter) {
  for (const keys of batches(deletes, () => 1)) {
    writer.deleteServices(keys);
    for (const { text } of keys) kernel.services.delete(text);
    yield;
  }
}

/** Whether there is anything to do. */
export function isEmpty(changes: Changes): boolean {
  const { extents, tables, services, ranges, deletes, freed, freedTables } = changes;
  return [extents, tables, services, ranges.add, ranges.remove, deletes, freed, freedTables]
    .every(({ length }) => length === 0);
}
