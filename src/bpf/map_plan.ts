/**
 * Which pinned maps an install keeps, and which it creates: those that are missing, or pinned with another capacity or of a
 * former version. Each new map replaces the former pin below `<bpffs>/map` by one rename.
 */
import { FORMER_LAYOUTS } from "./former_layouts.ts";
import type { MapDescriptor } from "./codec.ts";
import { MapVersions, type PinnedVersion, pinnedVersions } from "./map_versions.ts";
import { Migration, MigrationError } from "./migrate.ts";
import { mapPin, replacePin } from "./pins.ts";
import { leastEntries, SchemaError, schemaOf } from "./schema.ts";
import { mapInfo } from "./syscall.ts";

/** Which maps to create, and which pinned ones they replace. */
export interface MapPlan {
  /** Capacities: the requested one, else the pinned map's. */
  readonly maxEntries: Readonly<Record<string, number>>;
  /** Maps to create. */
  readonly fresh: ReadonlySet<string>;
  /** The pinned ones that they replace. */
  readonly former: ReadonlyMap<string, PinnedVersion>;
}

/**
 * Compares what is pinned with what is wanted.
 * @throws {SchemaError} when a newer pcnk made a map
 * @throws {MigrationError} when a map is so old that its layout is not known any more
 */
export function planMaps(
  bpffs: string,
  names: readonly string[],
  capacities: Readonly<Partial<Record<string, number>>>,
): MapPlan {
  const pinned = new Map(pinnedVersions(bpffs).map((one) => [one.name, one]));
  const maxEntries: Record<string, number> = {};
  const fresh = new Set<string>();
  const former = new Map<string, PinnedVersion>();
  for (const name of names) {
    const found = pinned.get(name);
    const size = capacities[name] ?? (found && Math.max(found.maxEntries, leastEntries(name)));
    if (size !== undefined) maxEntries[name] = size;
    if (found?.version === schemaOf(name)!.version && found.maxEntries === size) continue;
    fresh.add(name);
    if (found === undefined) continue;
    checkConvertible(bpffs, found);
    former.set(name, found);
  }
  return { maxEntries, fresh, former };
}

function checkConvertible(bpffs: string, { name, version }: PinnedVersion): void {
  const { version: known, change } = schemaOf(name)!;
  if (version > known) throw new SchemaError(mapPin(bpffs, name), version, known);
  if (change !== "converted" || version === known || layoutOf(name, version)) return;
  throw new MigrationError(
    `${
      mapPin(bpffs, name)
    } is of schema ${version}, which this pcnk does not read any more: upgrade by way of a release ` +
      "in between, or drain the node and reboot it, which removes pinned maps",
  );
}

function layoutOf(name: string, version: number) {
  return FORMER_LAYOUTS[name as keyof typeof FORMER_LAYOUTS]?.[version];
}

/** True for a former map whose successor the agent fills from cluster objects; `Renewal` does not copy it. */
export function isRebuilt({ name, version }: PinnedVersion): boolean {
  const schema = schemaOf(name)!;
  return schema.change === "rebuilt" && version < schema.version;
}

/** Records that maps are of this executable's versions. */
export function recordVersions(bpffs: string, fds: ReadonlyMap<string, number>): void {
  using versions = MapVersions.make(bpffs);
  for (const [name, fd] of fds) versions.set(mapInfo(fd).id, schemaOf(name)!.version);
}

/** The maps that an install creates, until they are pinned. Call `copy`, `pin`, `finish`, and `close` in any case. */
export class Renewal {
  readonly #bpffs: string;
  readonly #fds: ReadonlyMap<string, number>;
  readonly #migrations: Migration[] = [];

  /**
   * @param fds the maps by their names, their versions recorded; the caller closes them
   * @param former pinned maps that some of them replace
   */
  constructor(
    bpffs: string,
    fds: ReadonlyMap<string, number>,
    former: ReadonlyMap<string, PinnedVersion>,
    descriptors: Readonly<Record<string, MapDescriptor<unknown, unknown>>>,
  ) {
    this.#bpffs = bpffs;
    this.#fds = fds;
    try {
      for (const [name, fd] of fds) {
        const old = former.get(name);
        const shape = descriptors[name];
        if (old === undefined || shape === undefined) continue;
        const { version, change } = schemaOf(name)!;
        if (old.version < version && change !== "converted") continue;
        const layout = old.version < version ? layoutOf(name, old.version) : undefined;
        this.#migrations.push(new Migration(mapPin(bpffs, name), fd, shape, layout));
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** @throws {MigrationError} when entries do not fit into a map that is to become smaller */
  copy(): void {
    for (const migration of this.#migrations) migration.copy();
  }

  /** From here on a process that opens a pin gets the new map. */
  pin(): void {
    for (const [name, fd] of this.#fds) replacePin(mapPin(this.#bpffs, name), fd);
  }

  /** Carries over what old programs wrote since `copy`. */
  finish(): void {
    for (const migration of this.#migrations) migration.finish();
  }

  close(): void {
    for (const migration of this.#migrations.splice(0)) migration.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Forgets the versions of maps that are not pinned any more. */
export function forgetFormer(bpffs: string): void {
  using versions = MapVersions.open(bpffs);
  versions?.retain(new Set(pinnedVersions(bpffs).map(({ id }) => id)));
}

/** For the log: how a map changed. */
export function describeRenewal(old: PinnedVersion, { maxEntries }: MapPlan): string {
  const { version } = schemaOf(old.name)!;
  return version === old.version
    ? `map ${old.name}: capacity ${old.maxEntries} is now ${maxEntries[old.name]}`
    : `map ${old.name}: schema ${old.version} is now ${version}`;
}
