/** Loading objects into the real kernel: good ones, refused ones, others' maps. */
import assert from "node:assert/strict";
import { maps } from "../../src/bpf/layout.ts";
import { MapMismatchError } from "../../src/bpf/map.ts";
import { type LoadedObject, LoadError, loadObject } from "../../src/bpf/object.ts";
import { RingBuffer } from "../../src/bpf/ringbuf.ts";
import { objPin } from "../../src/bpf/syscall.ts";
import { testRun } from "../../src/bpf/testrun.ts";
import { CLANG, compile, twoPrograms } from "../support/clang.ts";
import * as needs from "../support/needs.ts";
import type { Sandbox } from "../support/sandbox.ts";
import { sandboxed } from "../support/sandboxed.ts";

const ignore = !(needs.root() && needs.file(CLANG));
const small = { services: 10, backends: 10, sessions: 10, fragments: 10 };
const packet = new Uint8Array(60);

const test = sandboxed({ ignore }, (sandbox) => sandbox);

function pinMaps(pinDir: string, { maps }: LoadedObject): void {
  for (const [name, fd] of maps) {
    if (!name.startsWith(".")) objPin(`${pinDir}/${name}`, fd);
  }
}

/** Not the root of the bpffs, where the kernel may have files of its own. */
function pinDirectory(sandbox: Sandbox): string {
  const path = `${sandbox.bpffs()}/map`;
  Deno.mkdirSync(path);
  return path;
}

test("loadObject() gives programs and typed maps; testRun() runs a packet", () => {
  using object = loadObject(compile(twoPrograms(3)), { name: "test.bpf.o", maxEntries: small });
  assert.deepEqual([...object.programs.keys()].sort(), ["lbrp_from_pod", "lbrp_to_pod"]);
  using services = object.map(maps.services);
  using counters = object.map(maps.counters);
  assert.equal(services.maxEntries, 10);
  const program = object.program("lbrp_from_pod");
  const arrays = 3; // `backends`, `config` and `fragments` always have an element 0
  assert.equal(testRun(program, packet).mark, (3 << 8) + arrays);
  services.set({ addr: "0.0.0.0", port: 0, proto: 0, scope: 0 }, {
    id: 1,
    first: 0,
    count: 0,
    total_weight: 0,
    affinity_seconds: 0,
    flags: 0,
    table: 0,
  });
  const result = testRun(program, packet, { repeat: 10, mark: 9 });
  assert.equal(result.mark, (3 << 8) + arrays + 1);
  assert.equal(result.verdict, 0);
  assert.deepEqual(result.packet, packet);
  const total = counters.get(0)!.reduce((sum, { packets }) => sum + packets, 0n);
  assert.equal(total, 11n);
  assert.throws(() => object.program("none"), TypeError);
  assert.throws(() => testRun(program, new Uint8Array(5)), { code: "EINVAL" });
});

test("loadObject() shows the verifier's log and the error's name", (sandbox) => {
  const pinDir = pinDirectory(sandbox);
  const source = `
#include "maps.h"
SEC("tc") int careless(struct __sk_buff *skb)
{
	struct service_key key = {};
	struct service *service = bpf_map_lookup_elem(&services, &key);

	return service->id;
}
char _license[] SEC("license") = "GPL";
`;
  assert.throws(
    () => loadObject(compile(source), { name: "careless.bpf.o", pinDir, maxEntries: small }),
    (error: Error) => {
      assert.ok(error instanceof LoadError);
      assert.equal(error.code, "EACCES");
      assert.match(error.message, /^careless\.bpf\.o: load: EACCES: permission denied/);
      assert.match(error.log, /prog 'careless': BPF program load failed/);
      assert.match(error.message, /invalid mem access 'map_value_or_null'/);
      return true;
    },
  );
});

test("loadObject() says when it is given something else than an object", () => {
  const bytes = new Uint8Array(100);
  assert.throws(
    () => loadObject(bytes, { name: "junk" }),
    /junk: open: FORMAT: not a valid object/,
  );
  assert.throws(() => loadObject(new Uint8Array(0)), LoadError);
});

test("loadObject() says when a size is for a map that is not there", () => {
  const bytes = compile(twoPrograms(1));
  assert.throws(() => loadObject(bytes, { maxEntries: { none: 1 } }), /has no map none/);
});

test("loadObject() shares maps that are pinned", (sandbox) => {
  const pinDir = pinDirectory(sandbox);
  const bytes = compile(twoPrograms(1));
  using first = loadObject(bytes, { pinDir, maxEntries: small });
  pinMaps(pinDir, first);
  using second = loadObject(bytes, { pinDir, maxEntries: small });
  using a = first.map(maps.endpoints);
  using b = second.map(maps.endpoints);
  assert.equal(a.id, b.id);
  const value = { ifindex: 1, mac: "02:00:00:00:00:01", gateway: "10.0.0.1" };
  a.set({ addr: "10.0.0.2" }, value);
  assert.deepEqual(b.get({ addr: "10.0.0.2" }), value);
});

test("loadObject() refuses a pinned map of another capacity or with other values", (sandbox) => {
  const pinDir = pinDirectory(sandbox);
  {
    using object = loadObject(compile(twoPrograms(1)), { maxEntries: small });
    pinMaps(pinDir, object);
  }
  assert.throws(
    () => loadObject(compile(twoPrograms(1)), { pinDir, maxEntries: { ...small, services: 20 } }),
    (error: Error) =>
      error instanceof MapMismatchError && error.message.includes(`${pinDir}/services`) &&
      error.message.includes("capacity: 10, expected 20"),
  );
  const wider = compile(
    twoPrograms(1),
    (types) => types.replace("struct backend {", "struct backend { __u64 more;"),
  );
  assert.throws(
    () => loadObject(wider, { pinDir, maxEntries: small }),
    (error: Error) =>
      error instanceof MapMismatchError && error.message.includes("size of values: 12, expected"),
  );
});

const RING = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");
SEC("tc") int emit(struct __sk_buff *skb)
{
	__u32 *event = bpf_ringbuf_reserve(&events, 12, 0);

	if (!event)
		return 2;
	event[0] = skb->mark;
	event[1] = event[2] = 0xabcdef01;
	if (skb->mark == 13)
		bpf_ringbuf_discard(event, 0);
	else
		bpf_ringbuf_submit(event, 0);
	return 0;
}
char _license[] SEC("license") = "GPL";
`;

test("RingBuffer delivers records in order, without the discarded", async () => {
  using object = loadObject(compile(RING));
  const emit = object.program("emit");
  const marks: number[] = [];
  await using ring = RingBuffer.open(object.maps.get("events")!, (record) => {
    assert.equal(record.length, 12);
    const [mark, one, two] = new Uint32Array(record.buffer);
    assert.deepEqual([one, two], [0xabcdef01, 0xabcdef01]);
    marks.push(mark!);
  });
  for (const mark of [1, 2, 13, 4]) testRun(emit, packet, { mark });
  assert.equal(ring.consume(), 3);
  assert.deepEqual(marks, [1, 2, 4]);
  assert.equal(ring.consume(), 0);
  assert.equal(await ring.poll(1), 0);
});

test("RingBuffer.poll() wakes when a record comes", async () => {
  using object = loadObject(compile(RING));
  let got = 0;
  await using ring = RingBuffer.open(object.maps.get("events")!, () => got++);
  const waiting = ring.poll();
  testRun(object.program("emit"), packet, { mark: 5 });
  assert.equal(await waiting, 1);
  assert.equal(got, 1);
});

test("RingBuffer goes round its memory many times, and past an overflow", async () => {
  using object = loadObject(compile(RING));
  const emit = object.program("emit");
  let got = 0;
  await using ring = RingBuffer.open(object.maps.get("events")!, () => got++);
  for (let i = 0; i < 20; i++) {
    testRun(emit, packet, { repeat: 2000 });
    ring.consume();
  }
  assert.equal(got, 40_000);
  assert.equal(testRun(emit, packet, { repeat: 5000 }).verdict, 2, "full");
  got = 0;
  ring.consume();
  assert.equal(got, Math.floor(65536 / 24));
  assert.equal(testRun(emit, packet).verdict, 0);
  assert.equal(ring.consume(), 1);
});

test("RingBuffer goes on after a callback that throws, and does not deliver twice", async () => {
  using object = loadObject(compile(RING));
  const marks: number[] = [];
  await using ring = RingBuffer.open(object.maps.get("events")!, (record) => {
    marks.push(record[0]!);
    if (record[0] === 1) throw new Error("no");
  });
  for (const mark of [1, 2]) testRun(object.program("emit"), packet, { mark });
  assert.throws(() => ring.consume(), /no/);
  assert.equal(ring.consume(), 1);
  assert.deepEqual(marks, [1, 2]);
});

test("RingBuffer.close() ends a poll", async () => {
  using object = loadObject(compile(RING));
  const ring = RingBuffer.open(object.maps.get("events")!, () => {});
  const waiting = ring.poll();
  await ring.close();
  assert.equal(await waiting, 0);
  assert.equal(ring.consume(), 0);
  assert.equal(await ring.poll(), 0);
});

test("RingBuffer.open() refuses another kind of map", () => {
  using object = loadObject(compile(twoPrograms(1)), { maxEntries: small });
  assert.throws(() => RingBuffer.open(object.maps.get("config")!, () => {}), MapMismatchError);
});
