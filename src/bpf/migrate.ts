/**
 * Moves the entries of a pinned map into a new one of another capacity or layout while programs and other processes go on
 * using the old one: copy, pin the new one in its place and, once all programs use it, carry over what changed meanwhile.
 *
 * Limitation: what an old program writes between the copy and the replacement of the last program (a few milliseconds) is
 * unknown to the new ones until `finish`. For sessions, where that would break connections, conversion.ts has another way.
 */
import { dupFd, SyscallError } from "../linux/libc.ts";
import { copyEntries, lookupBatch } from "./batch.ts";
import { type Codec, perCpu } from "./codec.ts";
import type { FormerLayout } from "./former_layouts.ts";
import type { MapDescriptor } from "./codec.ts";
import { BpfMap } from "./map.ts";
import { MAP_TYPE, mapInfo, objGet } from "./syscall.ts";

/** The entries of a map do not fit into its new capacity. */
export class MigrationError extends Error {
  override readonly name = "MigrationError";
}

/** Bytes as they are, as a string of characters 0 to 255: comparable, and good as a key. */
function raw(size: number): Codec<string> {
  return {
    name: `${size} bytes`,
    size,
    align: 1,
    encode(value, view, offset) {
      for (let i = 0; i < size; i++) view.setUint8(offset + i, value.charCodeAt(i));
    },
    decode(view, offset) {
      return String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + offset, size));
    },
  };
}

type RawValue = string | string[];
type RawMap = BpfMap<string, RawValue>;
type Shape = Pick<MapDescriptor<unknown, unknown>, "name" | "key" | "value" | "perCpu">;
type Layout = FormerLayout<unknown, unknown>;

function openRaw(fd: number, { name, key, value, perCpu: each }: Shape): RawMap {
  const one: Codec<unknown> = raw(value.size);
  const codec = (each ? perCpu(one) : one) as Codec<RawValue>;
  return BpfMap.fromFd(fd, raw(key.size), codec, name);
}

/** A value from its bytes, and back. */
function decode<T>(codec: Codec<T>, bytes: string): T {
  return codec.decode(new DataView(Uint8Array.from(bytes, (char) => char.charCodeAt(0)).buffer), 0);
}
function encode<T>(codec: Codec<T>, value: T): string {
  const view = new DataView(new ArrayBuffer(codec.size));
  codec.encode(value, view, 0);
  return raw(codec.size).decode(view, 0);
}

/** The move of one map. Call `copy`, `finish` in this order, and `close` in any case. */
export class Migration {
  readonly #old: RawMap;
  readonly #new: RawMap;
  readonly #shape: Shape;
  readonly #former: Layout | undefined;
  /** What `copy` saw in a plain hash. Other kinds have no writer but programs, or none but the caller. */
  #seen = new Map<string, RawValue>();

  /**
   * @param pin where the old map is pinned
   * @param fd the new map, empty and not pinned; the descriptor stays the caller's
   * @param former the old map's layout, where that is another one
   */
  constructor(pin: string, fd: number, shape: Shape, former?: Layout) {
    this.#shape = shape;
    this.#former = former;
    this.#old = openRaw(objGet(pin), { ...shape, ...former });
    try {
      this.#new = openRaw(dupFd(fd), shape);
    } catch (error) {
      this.#old.close();
      throw error;
    }
  }

  get #isArray(): boolean {
    return this.#old.type === MAP_TYPE.ARRAY || this.#old.type === MAP_TYPE.PERCPU_ARRAY;
  }

  /**
   * Copies every entry.
   * @throws {MigrationError} when they do not fit; an LRU map forgets its oldest instead
   */
  copy(): void {
    if (this.#isArray) this.#checkTail();
    if (this.#former === undefined && this.#isArray) {
      return copyEntries(this.#old, mapInfo(this.#old.fd), this.#new, {
        limit: this.#new.maxEntries,
      });
    }
    if (this.#former === undefined && this.#old.type === MAP_TYPE.LRU_HASH) {
      return copyEntries(this.#old, mapInfo(this.#old.fd), this.#new);
    }
    this.#seen = this.#read();
    try {
      this.#new.setBatch(this.#seen);
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === "E2BIG")) throw error;
      throw new MigrationError(
        `map ${this.#shape.name} has ${this.#seen.size} entries, too many for ${this.#new.maxEntries}`,
      );
    }
  }

  /** The old map's entries, in the new layout. An array's elements beyond the new capacity are empty. */
  #read(): Map<string, RawValue> {
    const entries = this.#old.entries();
    const former = this.#former;
    if (former === undefined) return new Map(entries);
    const { key, value } = this.#shape;
    const found = new Map<string, RawValue>();
    for (
      const [oldKey, oldValue] of entries.slice(0, this.#isArray ? this.#new.maxEntries : undefined)
    ) {
      const convert = (bytes: string) =>
        former.convert(decode(former.key, oldKey), decode(former.value, bytes));
      const converted = [oldValue].flat().map(convert);
      const [first] = converted;
      if (first === undefined) continue;
      const values = converted.map((one) => encode(value, one![1]));
      found.set(encode(key, first[0]), this.#shape.perCpu ? values : values[0]!);
    }
    return found;
  }

  /** An array may be cut only where nothing is stored. */
  #checkTail(): void {
    const { value } = this.#old;
    lookupBatch(
      this.#old,
      mapInfo(this.#old.fd),
      this.#new.maxEntries,
      Infinity,
      (keys, values, count) => {
        const bytes = new Uint8Array(values.buffer, 0, count * value.size);
        const used = bytes.findLastIndex((byte) => byte !== 0);
        if (used < 0) return;
        const index = new Uint32Array(keys.buffer)[Math.floor(used / value.size)];
        throw new MigrationError(
          `map ${this.#shape.name} uses element ${index}, too many for ${this.#new.maxEntries}`,
        );
      },
    );
  }

  /** Carries over what was written to the old map since `copy`. */
  finish(): void {
    if (this.#isArray) return;
    if (this.#old.type === MAP_TYPE.LRU_HASH) return this.#new.addBatch(this.#read());
    const now = this.#read();
    this.#new.setBatch([...now].filter(([key, value]) => this.#seen.get(key) !== value));
    this.#new.deleteBatch([...this.#seen.keys()].filter((key) => !now.has(key)));
  }

  close(): void {
    this.#old.close();
    this.#new.close();
  }
}
