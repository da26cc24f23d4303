/**
 * A map of the kernel with typed keys and values. Buffers are allocated once a map, batches go through two shared
 * scratch buffers: 10,000 entries are a handful of system calls.
 */
import { address, closeFd, rawSyscall, SYS, SyscallError } from "../linux/libc.ts";
import { Fingerprint } from "../linux/fingerprint.ts";
import { lookupBatch, modifyBatch } from "./batch.ts";
import { type Codec, LITTLE, type MapDescriptor, perCpu } from "./codec.ts";
import { CMD, MAP_TYPE, type MapInfo, mapInfo, objGet, setU64, UPDATE } from "./syscall.ts";
const ENOENT = 2;
const EEXIST = 17;
/** struct bpf_attr for single elements: { u32 map_fd; u64 key, value, flags; } */
const ATTR_SIZE = 32;

/** A map whose kernel object does not have the expected shape. */
export class MapMismatchError extends Error {
  override readonly name = "MapMismatchError";
}

/** A map of the kernel, open until `close()`. */
export class BpfMap<K, V> {
  readonly #info: MapInfo;
  readonly #key: Uint8Array<ArrayBuffer>;
  readonly #value: Uint8Array<ArrayBuffer>;
  readonly #keyView: DataView<ArrayBuffer>;
  readonly #valueView: DataView<ArrayBuffer>;
  readonly #attr = new Uint8Array(ATTR_SIZE);
  readonly #attrView = new DataView(this.#attr.buffer);
  readonly #attrAddress = address(this.#attr);
  #closed = false;

  private constructor(
    readonly fd: number,
    /** Names the map in errors. */
    readonly name: string,
    readonly key: Codec<K>,
    readonly value: Codec<V>,
  ) {
    this.#info = mapInfo(fd);
    this.#check();
    this.#key = new Uint8Array(key.size);
    this.#value = new Uint8Array(value.size);
    this.#keyView = new DataView(this.#key.buffer);
    this.#valueView = new DataView(this.#value.buffer);
    this.#attrView.setUint32(0, fd, LITTLE);
    setU64(this.#attrView, 8, address(this.#key));
    setU64(this.#attrView, 16, address(this.#value));
  }

  /**
   * Opens the map pinned at `path`.
   * @throws {SyscallError} ENOENT when nothing is pinned there
   * @throws {MapMismatchError} when its keys or values have another size than the codecs'
   */
  static openPinned<K, V>(path: string, key: Codec<K>, value: Codec<V>): BpfMap<K, V> {
    return BpfMap.fromFd(objGet(path), key, value, path);
  }

  /** Takes over the descriptor of a map: `close()` closes it, as does an error. */
  static fromFd<K, V>(fd: number, key: Codec<K>, value: Codec<V>, name?: string): BpfMap<K, V> {
    try {
      return new BpfMap(fd, name ?? mapInfo(fd).name, key, value);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  #check(): void {
    const { keySize, valueSize, type } = this.#info;
    const wantedValue = this.value.elementSize ?? this.value.size;
    const wrong = keySize !== this.key.size
      ? `key: ${keySize} bytes, expected ${this.key.size} (${this.key.name})`
      : valueSize !== wantedValue
      ? `value: ${valueSize} bytes, expected ${wantedValue} (${this.value.name})`
      : isPerCpu(type) !== (this.value.elementSize !== undefined)
      ? `type: ${isPerCpu(type) ? "has" : "has not"} a value for each CPU, contrary to the codec`
      : undefined;
    if (wrong) throw new MapMismatchError(`map ${this.name} has another layout; ${wrong}`);
  }

  /** Capacity in entries. */
  get maxEntries(): number {
    return this.#info.maxEntries;
  }
  /** Kind of map, one of MAP_TYPE. */
  get type(): number {
    return this.#info.type;
  }
  /** The kernel's id of the map. */
  get id(): number {
    return this.#info.id;
  }

  #call(command: number, flags: number): number {
    this.#attrView.setUint32(24, flags, LITTLE);
    return rawSyscall(SYS.bpf, command, this.#attrAddress, ATTR_SIZE);
  }

  #fail(what: keyof typeof CMD, result: number): never {
    throw new SyscallError(`bpf(BPF_${what})`, -result, this.name);
  }

  /** The value of a key, or undefined. */
  get(key: K): V | undefined {
    this.key.encode(key, this.#keyView, 0);
    const result = this.#call(CMD.MAP_LOOKUP_ELEM, 0);
    if (result === -ENOENT) return undefined;
    if (result < 0) this.#fail("MAP_LOOKUP_ELEM", result);
    return this.value.decode(this.#valueView, 0);
  }

  /**
   * Sets the value of a key.
   * @param flags UPDATE.ANY, NOEXIST (throws EEXIST) or EXIST (throws ENOENT)
   * @throws {SyscallError} E2BIG when the map is full
   */
  set(key: K, value: V, flags: number = UPDATE.ANY): void {
    this.key.encode(key, this.#keyView, 0);
    this.value.encode(value, this.#valueView, 0);
    const result = this.#call(CMD.MAP_UPDATE_ELEM, flags);
    if (result < 0) this.#fail("MAP_UPDATE_ELEM", result);
  }

  /** Removes a key; false when it was not there. Arrays refuse (EINVAL). */
  delete(key: K): boolean {
    this.key.encode(key, this.#keyView, 0);
    // This command wants nothing behind the key.
    const result = rawSyscall(SYS.bpf, CMD.MAP_DELETE_ELEM, this.#attrAddress, 16);
    if (result < 0 && result !== -ENOENT) this.#fail("MAP_DELETE_ELEM", result);
    return result === 0;
  }

  /** Every entry, or so many; of an array every element. A concurrent change may or may not be seen. */
  entries(limit = Infinity): [K, V][] {
    const found: [K, V][] = [];
    lookupBatch(this, this.#info, 0, limit, (keys, values, count) => {
      for (let i = 0; i < count; i++) {
        found.push([
          this.key.decode(keys, i * this.key.size),
          this.value.decode(values, i * this.value.size),
        ]);
      }
    });
    return found;
  }

  /** Every key. */
  keys(): K[] {
    const found: K[] = [];
    lookupBatch(this, this.#info, 0, Infinity, (keys, _, count) => {
      for (let i = 0; i < count; i++) found.push(this.key.decode(keys, i * this.key.size));
    });
    return found;
  }

  /**
   * What all entries come to, or an array's first `limit` elements, without an object for any: a hundredth of what `entries()`
   * takes. Another text when one was added, changed or removed; also when one was set to the same value, which may move it.
   */
  fingerprint(limit = Infinity): string {
    const found = new Fingerprint();
    lookupBatch(this, this.#info, 0, limit, (keys, values, count) => {
      if (!isArray(this.type)) found.add(keys, 0, count * this.key.size);
      found.add(values, 0, count * this.value.size);
    });
    return found.text;
  }

  /** How many entries there are, now; of an array its capacity. */
  count(): number {
    if (isArray(this.type)) return this.maxEntries;
    let total = 0;
    lookupBatch(this, this.#info, 0, Infinity, (_keys, _values, count) => void (total += count));
    return total;
  }

  /** Of an array: `count` elements from index `first` on (fewer at its end). */
  range(first: number, count: number): V[] {
    if (!isArray(this.type)) throw new TypeError(`map ${this.name} is not an array`);
    const found: V[] = [];
    lookupBatch(this, this.#info, first, count, (_, values, got) => {
      for (let i = 0; i < got; i++) found.push(this.value.decode(values, i * this.value.size));
    });
    return found;
  }

  /**
   * Sets many entries, in order.
   * @throws {SyscallError} telling how many were set before the one that failed; E2BIG when the map is full
   */
  setBatch(entries: Iterable<readonly [K, V]>, flags: number = UPDATE.ANY): void {
    modifyBatch(this, CMD.MAP_UPDATE_BATCH, entries, flags);
  }

  /** Adds many entries; keys that are there keep their values. */
  addBatch(entries: Iterable<readonly [K, V]>): void {
    modifyBatch(this, CMD.MAP_UPDATE_BATCH, entries, UPDATE.NOEXIST, EEXIST);
  }

  /** Removes many keys; missing ones are skipped. Returns how many were removed. */
  deleteBatch(keys: Iterable<K>): number {
    const entries = (function* (): Generator<readonly [K]> {
      for (const key of keys) yield [key];
    })();
    return modifyBatch(this, CMD.MAP_DELETE_BATCH, entries, 0);
  }

  /** Closes the descriptor; more than once does no harm. */
  close(): void {
    if (!this.#closed) closeFd(this.fd);
    this.#closed = true;
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Types of a map's entries, by its descriptor. */
export type MapOf<D> = D extends MapDescriptor<infer K, infer V, infer P>
  ? BpfMap<K, P extends true ? V[] : V>
  : never;

/** A typed map out of a descriptor number, which it takes over. */
export function openMap<K, V, P extends boolean>(
  fd: number,
  { key, value, name, perCpu: each }: MapDescriptor<K, V, P>,
): BpfMap<K, P extends true ? V[] : V> {
  const codec = each ? perCpu(value) : value;
  return BpfMap.fromFd<K, V | V[]>(fd, key, codec as Codec<V | V[]>, name) as BpfMap<
    K,
    P extends true ? V[] : V
  >;
}

function isPerCpu(type: number): boolean {
  return type === MAP_TYPE.PERCPU_HASH || type === MAP_TYPE.PERCPU_ARRAY ||
    type === MAP_TYPE.LRU_PERCPU_HASH;
}

function isArray(type: number): boolean {
  return type === MAP_TYPE.ARRAY || type === MAP_TYPE.PERCPU_ARRAY;
}
