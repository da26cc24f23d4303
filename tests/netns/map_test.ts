/** Maps of the real kernel: single entries, batches, every kind, concurrent writers. */
import assert from "node:assert/strict";
import { perCpu, possibleCpus, struct, u32, u64 } from "../../src/bpf/codec.ts";
import { type Backend, maps, type Service, type ServiceKey } from "../../src/bpf/layout.ts";
import { BpfMap, MapMismatchError, openMap } from "../../src/bpf/map.ts";
import { MAP_TYPE, mapCreate, objPin, UPDATE } from "../../src/bpf/syscall.ts";
import { formatIpv4 } from "../../src/net/ipv4.ts";
import { closeFd, SyscallError } from "../../src/linux/libc.ts";
import { openFds } from "../support/fds.ts";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";

const ignore = !needs.root();

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      const before = openFds();
      await fn();
      assert.deepEqual(openFds(), before, "a descriptor leaked");
    },
  });
}

function services(maxEntries: number) {
  const { type, key, value, name } = maps.services;
  const spec = { type, keySize: key.size, valueSize: value.size, maxEntries, name };
  return openMap(mapCreate(spec), maps.services);
}

const keyOf = (i: number): ServiceKey => ({ addr: formatIpv4(i), port: 80, proto: 6, scope: 0 });
const valueOf = (i: number): Service => ({
  id: i,
  first: 0,
  count: 1,
  total_weight: 0,
  affinity_seconds: 0,
  flags: 0,
  table: 0,
});
const entriesOf = (count: number) =>
  Array.from({ length: count }, (_, i) => [keyOf(i + 1), valueOf(i + 1)] as const);

test("BpfMap sets, gets and deletes", () => {
  using map = services(10);
  assert.equal(map.get(keyOf(1)), undefined);
  map.set(keyOf(1), valueOf(1));
  map.set(keyOf(1), valueOf(2));
  assert.deepEqual(map.get(keyOf(1)), valueOf(2));
  assert.throws(() => map.set(keyOf(1), valueOf(1), UPDATE.NOEXIST), { code: "EEXIST" });
  assert.throws(() => map.set(keyOf(2), valueOf(1), UPDATE.EXIST), { code: "ENOENT" });
  assert.equal(map.delete(keyOf(1)), true);
  assert.equal(map.delete(keyOf(1)), false);
  assert.equal(map.maxEntries, 10);
});

test("setBatch(), entries() and deleteBatch() take 10,000 entries", () => {
  using map = services(10_000);
  const entries = entriesOf(10_000);
  map.setBatch(entries);
  assert.deepEqual(map.get(keyOf(7777)), valueOf(7777));
  const found = new Map(map.entries().map(([key, value]) => [key.addr, value]));
  assert.equal(found.size, 10_000);
  for (const [key, value] of entries) assert.deepEqual(found.get(key.addr), value);
  assert.equal(map.keys().length, 10_000);
  assert.equal(map.deleteBatch(entries.slice(0, 4000).map(([key]) => key)), 4000);
  assert.equal(map.deleteBatch(entries.map(([key]) => key)), 6000, "absent keys are passed over");
  assert.deepEqual(map.entries(), []);
  assert.equal(map.deleteBatch([]), 0);
  map.setBatch([]);
});

test("setBatch() says which entry did not fit", () => {
  using map = services(9000);
  assert.throws(
    () => map.setBatch(entriesOf(10_000)),
    (error: SyscallError) =>
      error.code === "E2BIG" && /services, entry 9\d\d\d of a batch/.test(error.message),
  );
  const held = map.entries().length;
  assert.ok(held >= 9000 && held < 10_000, `${held} entries`);
});

test("setBatch() keeps to NOEXIST and EXIST", () => {
  using map = services(10);
  map.setBatch(entriesOf(3), UPDATE.NOEXIST);
  assert.throws(() => map.setBatch(entriesOf(4).reverse(), UPDATE.NOEXIST), {
    code: "EEXIST",
    message: /entry 1 of a batch/,
  });
  assert.throws(() => map.setBatch(entriesOf(5), UPDATE.EXIST), { code: "ENOENT" });
  assert.equal(map.entries().length, 4);
});

test("setBatch() takes a lazy iterable that reads other maps", () => {
  using from = services(20_000);
  using to = services(20_000);
  from.setBatch(entriesOf(20_000));
  to.setBatch((function* () {
    for (const [key] of entriesOf(20_000)) {
      yield [key, from.get(key)!] as const;
      if (key.addr === "0.0.4.0") to.setBatch(from.entries(10));
    }
  })());
  assert.equal(to.entries().length, 20_000);
  assert.deepEqual(to.get(keyOf(12_345)), valueOf(12_345));
});

test("entries() takes so many at most, also from buckets that hold more", () => {
  using map = services(8); // in eight buckets
  map.setBatch(entriesOf(8));
  for (let limit = 0; limit < 10; limit++) {
    assert.equal(map.entries(limit).length, Math.min(limit, 8));
  }
});

test("fingerprint() is another one while an entry is, and the same again", () => {
  using map = services(10_000);
  map.setBatch(entriesOf(9000));
  const whole = map.fingerprint();
  assert.equal(map.fingerprint(), whole);
  map.set(keyOf(4711), valueOf(1));
  const changed = map.fingerprint();
  map.delete(keyOf(4711));
  const gone = map.fingerprint();
  map.set(keyOf(9001), valueOf(4711));
  assert.equal(new Set([whole, changed, gone, map.fingerprint()]).size, 4);

  const { key, value, type } = maps.backends;
  const spec = { type, keySize: key.size, valueSize: value.size, maxEntries: 30_000 };
  using array = openMap(mapCreate(spec), maps.backends);
  const element = { addr: "10.0.0.1", port: 80, flags: 0, weight_end: 0 };
  const empty = array.fingerprint(12_346);
  array.set(12_346, element);
  assert.equal(array.fingerprint(12_346), empty, "of so many elements only");
  array.set(12_345, element);
  assert.notEqual(array.fingerprint(12_346), empty);
  array.set(12_345, { ...element, addr: "0.0.0.0", port: 0 });
  assert.equal(array.fingerprint(12_346), empty);
});

test("range() reads a part of an array map", () => {
  const { key, value, type } = maps.backends;
  const spec = { type, keySize: key.size, valueSize: value.size, maxEntries: 30_000 };
  using map = openMap(mapCreate(spec), maps.backends);
  const backend = (i: number): Backend => ({
    addr: formatIpv4(i),
    port: i & 0xffff,
    flags: 0,
    weight_end: i,
  });
  map.setBatch(Array.from({ length: 30_000 }, (_, i) => [i, backend(i)] as const));
  assert.deepEqual(map.range(0, 2), [backend(0), backend(1)]);
  assert.deepEqual(map.range(12_345, 3), [backend(12_345), backend(12_346), backend(12_347)]);
  assert.equal(map.range(5, 20_000).length, 20_000);
  assert.deepEqual(map.range(29_999, 5), [backend(29_999)]);
  assert.deepEqual(map.range(30_000, 5), []);
  assert.deepEqual(map.range(3, 0), []);
  assert.equal(map.entries().length, 30_000);
  assert.throws(() => map.delete(3), { code: "EINVAL" });
  assert.throws(() => map.set(30_000, backend(0)), { code: "E2BIG" });
});

test("a per-CPU map has a value for each CPU", () => {
  const cpus = possibleCpus();
  const { key, value, type } = maps.counters;
  const spec = { type, keySize: key.size, valueSize: value.size, maxEntries: 64 };
  using map = openMap(mapCreate(spec), maps.counters);
  const values = Array.from({ length: cpus }, (_, i) => ({ packets: BigInt(i), bytes: 7n }));
  map.set(63, values);
  assert.deepEqual(map.get(63), values);
  assert.deepEqual(map.entries()[63], [63, values]);
  map.setBatch([[1, values]]);
  assert.deepEqual(map.get(1), values);
});

test("an LPM map is listed, whether or not its kind has batches", () => {
  const prefix = struct("prefix", { length: u32, addr: u32 });
  const BPF_F_NO_PREALLOC = 1;
  const fd = mapCreate({
    type: MAP_TYPE.LPM_TRIE,
    keySize: 8,
    valueSize: 8,
    maxEntries: 100,
    flags: BPF_F_NO_PREALLOC,
  });
  using map = BpfMap.fromFd(fd, prefix, u64);
  map.setBatch([[{ length: 8, addr: 10 }, 1n], [{ length: 16, addr: 266 }, 2n]]);
  assert.equal(map.entries().length, 2);
  assert.equal(map.get({ length: 32, addr: 266 }), 2n);
  assert.equal(map.deleteBatch([{ length: 8, addr: 10 }, { length: 9, addr: 10 }]), 1);
});

test("openPinned() compares the map with the codecs", () => {
  using sandbox = new Sandbox();
  const path = `${sandbox.bpffs()}/services`;
  assert.throws(() => BpfMap.openPinned(path, u32, u32), { code: "ENOENT" });
  const fd = mapCreate({ type: MAP_TYPE.HASH, keySize: 8, valueSize: 20, maxEntries: 10 });
  objPin(path, fd);
  closeFd(fd);
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  const { key, value } = maps.services;
  assert.throws(
    () => BpfMap.openPinned(path, key, value),
    (error: Error) =>
      error instanceof MapMismatchError && error.message.includes(path) &&
      error.message.includes("value: 20 bytes, expected 24 (service)"),
  );
  assert.throws(() => BpfMap.openPinned(path, u32, value), /key: 8 bytes, expected 4 \(u32\)/);
  const five = struct("five", { a: u64, b: u64, c: u32, d: u32, e: u32 });
  assert.throws(() => BpfMap.openPinned(path, key, perCpu(five)), MapMismatchError);
});

// A worker's end is not awaited, nor are its descriptors.
Deno.test({
  name: "two threads write one map at once, in batches, and nothing is lost",
  ignore,
  fn: twoWriters,
});

async function twoWriters(): Promise<void> {
  using sandbox = new Sandbox();
  const path = `${sandbox.bpffs()}/services`;
  using map = services(40_000);
  objPin(path, map.fd);
  const worker = new Worker(new URL("../support/mapwriter_worker.ts", import.meta.url), {
    type: "module",
  });
  try {
    const answers = new Promise<void>((resolve, reject) => {
      worker.onmessage = () => resolve();
      worker.onerror = (event) => reject(new Error(event.message));
    });
    worker.postMessage({ path, first: 20_001, count: 20_000, rounds: 10 });
    for (let round = 0; round < 10; round++) map.setBatch(entriesOf(20_000));
    await answers;
  } finally {
    worker.terminate();
  }
  const found = new Set(map.keys().map(({ addr }) => addr));
  assert.equal(found.size, 40_000);
  assert.deepEqual(map.get(keyOf(40_000)), valueOf(40_000));
}
