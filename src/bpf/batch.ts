/**
 * Many entries of a map in few system calls: BPF_MAP_*_BATCH (Linux 5.6), entry by entry where a kind of map has no batch
 * operations (LPM tries before 5.12 or so, per-CPU arrays before 5.13).
 */
import { address, rawSyscall, SYS, SyscallError } from "../linux/libc.ts";
import { type Codec, LITTLE } from "./codec.ts";
import { CMD, type MapInfo, setU64, UPDATE } from "./syscall.ts";
const ENOENT = 2;
const EEXIST = 17;
const EINVAL = 22;
const ENOSPC = 28;
const ENOTSUPP = 524;

/** Entries a call; more does not make it faster. */
const CHUNK = 8192;
/** Bytes of values a call, for maps with large values. */
const MAX_BYTES = 4 << 20;

/** The part of a map that batches need. */
interface BatchTarget<K, V> {
  readonly fd: number;
  readonly name: string;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
}

/** A reusable buffer. Borrowed while a batch runs, so that one inside another (a lazy iterable) gets its own. */
class Scratch {
  #free: Uint8Array<ArrayBuffer> | undefined;

  borrow(size: number): Uint8Array<ArrayBuffer> {
    const free = this.#free;
    this.#free = undefined;
    return free && free.length >= size ? free : new Uint8Array(size);
  }
  giveBack(buffer: Uint8Array<ArrayBuffer>): void {
    this.#free = buffer;
  }
}

const keyScratch = new Scratch();
const valueScratch = new Scratch();

function withScratch<T>(
  keyBytes: number,
  valueBytes: number,
  fn: (keys: Uint8Array<ArrayBuffer>, values: Uint8Array<ArrayBuffer>) => T,
): T {
  const keys = keyScratch.borrow(keyBytes);
  const values = valueScratch.borrow(valueBytes);
  try {
    return fn(keys, values);
  } finally {
    keyScratch.giveBack(keys);
    valueScratch.giveBack(values);
  }
}

/** struct bpf_attr for batches and for single elements; one at a time, nothing is called in between. */
const attr = new Uint8Array(56);
const view = new DataView(attr.buffer);
let attrAddress = 0;

function bpf(command: number, size: number): number {
  attrAddress ||= address(attr);
  return rawSyscall(SYS.bpf, command, attrAddress, size);
}

/** Returns [result, entries done]. Addresses; 0 for none. */
function callBatch(
  command: number,
  fd: number,
  args: { from?: number; to?: number; keys: number; values: number; count: number; flags?: number },
): [result: number, done: number] {
  attr.fill(0);
  setU64(view, 0, args.from ?? 0);
  setU64(view, 8, args.to ?? 0);
  setU64(view, 16, args.keys);
  setU64(view, 24, args.values);
  view.setUint32(32, args.count, LITTLE);
  view.setUint32(36, fd, LITTLE);
  view.setUint32(40, args.flags ?? 0, LITTLE);
  const result = bpf(command, 56);
  return [result, view.getUint32(32, LITTLE)];
}

function callElement(command: number, fd: number, key: number, value: number, flags = 0): number {
  attr.fill(0);
  view.setUint32(0, fd, LITTLE);
  setU64(view, 8, key);
  setU64(view, 16, value);
  view.setUint32(24, flags, LITTLE);
  return bpf(command, 32);
}

/** Gets `count` entries, one after another in the buffers. */
type Visit = (keys: DataView<ArrayBuffer>, values: DataView<ArrayBuffer>, count: number) => void;

/**
 * Reads the entries of a map in batches.
 * @param first of an array: where to start
 * @param limit how many at most
 */
export function lookupBatch<K, V>(
  map: BatchTarget<K, V>,
  info: MapInfo,
  first: number,
  limit: number,
  visit: Visit,
): void {
  if (limit <= 0 || first >= info.maxEntries) return;
  let chunk = Math.max(1, Math.min(CHUNK, info.maxEntries, Math.floor(MAX_BYTES / map.value.size)));
  // Where to go on: a position in a hash, a key elsewhere. Opaque but for arrays, where it is the last index seen.
  const cursor = new Uint8Array(Math.max(4, map.key.size));
  let started = first > 0;
  if (started) new DataView(cursor.buffer).setUint32(0, first - 1, LITTLE);
  let left = limit;
  let least = 0;
  while (left > 0) {
    const at = address(cursor);
    const step = withScratch(chunk * map.key.size, chunk * map.value.size, (keys, values) => {
      const [result, done] = callBatch(CMD.MAP_LOOKUP_BATCH, map.fd, {
        from: started ? at : 0,
        to: at,
        keys: address(keys),
        values: address(values),
        count: Math.min(chunk, Math.max(left, least)),
      });
      if (result === 0 || result === -ENOENT) {
        visit(new DataView(keys.buffer), new DataView(values.buffer), Math.min(done, left));
        left -= done;
      }
      return result;
    });
    if (step === -ENOENT) return;
    if (step === -ENOSPC) { // a bucket of the hash holds more than that
      least = Math.min(chunk, Math.max(left, least)) * 2;
      chunk = Math.max(chunk, least);
    } else if (left === limit && (step === -ENOTSUPP || step === -EINVAL)) {
      return lookupOneByOne(map, first > 0 ? cursor : undefined, limit, visit);
    } else if (step < 0) {
      throw new SyscallError("bpf(BPF_MAP_LOOKUP_BATCH)", -step, map.name);
    } else {
      started = true;
    }
  }
}

/** Entries of a hash, one after another in the buffers. */
export interface Slice {
  readonly keys: DataView<ArrayBuffer>;
  readonly values: DataView<ArrayBuffer>;
  readonly count: number;
}

/**
 * Reads a hash `size` entries at a time, as the caller goes on; the buffers are good until then. What is added or deleted
 * meanwhile may be seen or not.
 */
export function* readSlices<K, V>(map: BatchTarget<K, V>, size: number): Generator<Slice> {
  const cursor = new Uint8Array(Math.max(4, map.key.size));
  for (let started = false;;) {
    const keys = new Uint8Array(size * map.key.size),
      values = new Uint8Array(size * map.value.size);
    const [result, count] = callBatch(CMD.MAP_LOOKUP_BATCH, map.fd, {
      from: started ? address(cursor) : 0,
      to: address(cursor),
      keys: address(keys),
      values: address(values),
      count: size,
    });
    if (result === -ENOSPC) { // a bucket holds more
      size *= 2;
      continue;
    }
    if (result < 0 && result !== -ENOENT) {
      throw new SyscallError("bpf(BPF_MAP_LOOKUP_BATCH)", -result, map.name);
    }
    started = true;
    yield { keys: new DataView(keys.buffer), values: new DataView(values.buffer), count };
    if (result === -ENOENT) return;
  }
}

/** Where the kernel has no batches for the kind of map: per-CPU arrays before 5.13. `after`: the key to go on from. */
function lookupOneByOne<K, V>(
  map: BatchTarget<K, V>,
  after: Uint8Array<ArrayBuffer> | undefined,
  limit: number,
  visit: Visit,
): void {
  const key = new Uint8Array(map.key.size);
  if (after !== undefined) key.set(after.subarray(0, key.length));
  const value = new Uint8Array(map.value.size);
  const [keyAt, valueAt] = [address(key), address(value)];
  for (let seen = 0, previous = after ? keyAt : 0; seen < limit; previous = keyAt) {
    const next = callElement(CMD.MAP_GET_NEXT_KEY, map.fd, previous, keyAt);
    if (next === -ENOENT) return;
    if (next < 0) throw new SyscallError("bpf(BPF_MAP_GET_NEXT_KEY)", -next, map.name);
    if (callElement(CMD.MAP_LOOKUP_ELEM, map.fd, keyAt, valueAt) < 0) continue; // gone meanwhile
    visit(new DataView(key.buffer), new DataView(value.buffer), 1);
    seen++;
  }
}

/**
 * Updates (entries with values) or deletes (entries without) in order; returns how many entries were changed. Entries that
 * fail with the error number `passOver` are passed over.
 * @throws {SyscallError} telling the index of the entry that failed
 */
export function modifyBatch<K, V>(
  map: BatchTarget<K, V>,
  command: typeof CMD.MAP_UPDATE_BATCH | typeof CMD.MAP_DELETE_BATCH,
  entries: Iterable<readonly [K, V] | readonly [K]>,
  flags: number,
  passOver = 0,
): number {
  const { key, value } = map;
  const chunk = Math.max(1, Math.min(CHUNK, Math.floor(MAX_BYTES / value.size)));
  return withScratch(chunk * key.size, chunk * value.size, (keys, values) => {
    const keyView = new DataView(keys.buffer);
    const valueView = new DataView(values.buffer);
    let total = 0;
    let changed = 0;
    let filled = 0;
    const flush = () => {
      const chunk = { keys: address(keys), values: address(values), count: filled };
      changed += modifyChunk(map, command, chunk, { flags, before: total, passOver });
      total += filled;
      filled = 0;
    };
    for (const entry of entries) {
      key.encode(entry[0], keyView, filled * key.size);
      if (entry.length === 2) value.encode(entry[1], valueView, filled * value.size);
      if (++filled === chunk) flush();
    }
    if (filled > 0) flush();
    return changed;
  });
}

/** Entries that lie in memory one after another: addresses and number. */
interface Chunk {
  readonly keys: number;
  readonly values: number;
  readonly count: number;
}

/**
 * Changes the entries of a chunk; returns how many were. Keys that are not there to be deleted are passed over, as are,
 * when `passOver` says so, entries that fail with that error number.
 */
function modifyChunk<K, V>(
  map: BatchTarget<K, V>,
  command: number,
  chunk: Chunk,
  { flags, before, passOver = 0 }: { flags: number; before: number; passOver?: number },
): number {
  const deleting = command === CMD.MAP_DELETE_BATCH;
  const single = deleting ? CMD.MAP_DELETE_ELEM : CMD.MAP_UPDATE_ELEM;
  const ignored = deleting ? ENOENT : passOver;
  let changed = 0;
  let batches = flags === 0; // batches know no NOEXIST and EXIST
  for (let at = 0; at < chunk.count;) {
    const keys = chunk.keys + at * map.key.size;
    const values = deleting ? 0 : chunk.values + at * map.value.size;
    const left = chunk.count - at;
    let result: number;
    let done: number;
    if (batches) {
      [result, done] = callBatch(command, map.fd, { keys, values, count: left, flags });
      if (result === -ENOTSUPP) {
        batches = false;
        continue;
      }
      if (result < 0 && done === left) done = 0; // refused before the count was written
    } else {
      result = callElement(single, map.fd, keys, values, flags);
      done = result === 0 ? 1 : 0;
    }
    changed += done;
    at += done;
    if (result < 0 && result === -ignored) {
      at++;
    } else if (result < 0) {
      const what = deleting ? "bpf(BPF_MAP_DELETE)" : "bpf(BPF_MAP_UPDATE)";
      throw new SyscallError(what, -result, `${map.name}, entry ${before + at} of a batch`);
    }
  }
  return changed;
}

/**
 * Copies entries from one map to another of the same layout, undecoded.
 * @param options.limit how many at most
 * @param options.onlyNew keeps what the other map has already
 * @throws {SyscallError} E2BIG when the other map is full
 */
export function copyEntries<K, V>(
  from: BatchTarget<K, V>,
  info: MapInfo,
  to: BatchTarget<K, V>,
  options: { limit?: number; onlyNew?: boolean } = {},
): void {
  const flags = options.onlyNew ? UPDATE.NOEXIST : UPDATE.ANY;
  let before = 0;
  lookupBatch(from, info, 0, options.limit ?? Infinity, (keys, values, count) => {
    const chunk = { keys: bytesAt(keys), values: bytesAt(values), count };
    const passOver = options.onlyNew ? EEXIST : 0;
    modifyChunk(to, CMD.MAP_UPDATE_BATCH, chunk, { flags, before, passOver });
    before += count;
  });
}

function bytesAt(view: DataView<ArrayBuffer>): number {
  return address(new Uint8Array(view.buffer));
}
