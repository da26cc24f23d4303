/**
 * Moves the entries of a pinned map into a new one of another capacity while programs and other processes go on using
 * the old one: copy, change the pin, and, once all programs use the new map, carry over what changed meanwhile.
 *
 * Limitation: a session that an old program makes between the copy and the replacement of the last program (a few
 * milliseconds) is unknown to the new ones until `finish`.
 */
import { dupFd, SyscallError } from "../linux/libc.ts";
import { copyEntries, lookupBatch } from "./batch.ts";
import { type Codec, perCpu } from "./codec.ts";
import type { MapDescriptor } from "./layout.ts";
import { BpfMap } from "./map.ts";
import { replacePin } from "./pins.ts";
import { MAP_TYPE, type MapInfo, mapInfo, objGet } from "./syscall.ts";

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

type RawMap = BpfMap<string, string | string[]>;

function openRaw(fd: number, { name, key, value, perCpu: each }: MapDescriptor<unknown, unknown>) {
  const codec: Codec<string | string[]> = each
    ? perCpu(raw(value.size)) as Codec<string | string[]>
    : raw(value.size) as Codec<string | string[]>;
  return BpfMap.fromFd(fd, raw(key.size), codec, name);
}

/** The move of one map. Call `copy`, `switchPin`, `finish` in this order, and `close` in any case. */
export class Migration {
  readonly #old: RawMap;
  readonly #new: RawMap;
  readonly #info: MapInfo;
  /** What `copy` saw in a plain hash. Other kinds have no writer but programs, or none but the caller. */
  #seen = new Map<string, string | string[]>();

  /**
   * @param pin where the old map is pinned
   * @param fd the new map, empty and not pinned; the descriptor stays the caller's
   */
  constructor(readonly pin: string, fd: number, shape: MapDescriptor<unknown, unknown>) {
    this.#old = openRaw(objGet(pin), shape);
    try {
      this.#new = openRaw(dupFd(fd), shape);
    } catch (error) {
      this.#old.close();
      throw error;
    }
    this.#info = mapInfo(this.#old.fd);
  }

  get name(): string {
    return this.#old.name;
  }
  /** Capacity of the old map. */
  get from(): number {
    return this.#old.maxEntries;
  }
  /** Capacity of the new map. */
  get to(): number {
    return this.#new.maxEntries;
  }

  get #isArray(): boolean {
    return this.#old.type === MAP_TYPE.ARRAY || this.#old.type === MAP_TYPE.PERCPU_ARRAY;
  }

  /**
   * Copies every entry.
   * @throws {MigrationError} when they do not fit; an LRU map forgets its oldest instead
   */
  copy(): void {
    if (this.#isArray) {
      this.#checkTail();
      return copyEntries(this.#old, this.#info, this.#new, { limit: this.to });
    }
    if (this.#old.type === MAP_TYPE.LRU_HASH) {
      return copyEntries(this.#old, this.#info, this.#new);
    }
    this.#seen = new Map(this.#old.entries());
    try {
      this.#new.setBatch(this.#seen);
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === "E2BIG")) throw error;
      throw new MigrationError(
        `map ${this.name} has ${this.#seen.size} entries, too many for ${this.to}`,
      );
    }
  }

  /** An array may be cut only where nothing is stored. */
  #checkTail(): void {
    lookupBatch(this.#old, this.#info, this.to, Infinity, (keys, values, count) => {
      const bytes = new Uint8Array(values.buffer, 0, count * this.#old.value.size);
      const used = bytes.findLastIndex((byte) => byte !== 0);
      if (used < 0) return;
      const index = new Uint32Array(keys.buffer)[Math.floor(used / this.#old.value.size)];
      throw new MigrationError(`map ${this.name} uses element ${index}, too many for ${this.to}`);
    });
  }

  /** From here on whoever opens the pin gets the new map. */
  switchPin(): void {
    replacePin(this.pin, this.#new.fd);
  }

  /** Carries over what was written to the old map since `copy`. */
  finish(): void {
    if (this.#isArray) return;
    if (this.#old.type === MAP_TYPE.LRU_HASH) {
      return copyEntries(this.#old, this.#info, this.#new, { onlyNew: true });
    }
    const now = new Map(this.#old.entries());
    this.#new.setBatch([...now].filter(([key, value]) => this.#seen.get(key) !== value));
    this.#new.deleteBatch([...this.#seen.keys()].filter((key) => !now.has(key)));
  }

  close(): void {
    this.#old.close();
    this.#new.close();
  }
}
