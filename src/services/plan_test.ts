import assert from "node:assert/strict";
import { finished } from "../model/steps.ts";
import { type Backend, type Frontend, frontendKey } from "../model/frontend.ts";
import { splitHostPort } from "../net/host_port.ts";
import { applyChanges, isEmpty } from "./apply.ts";
import { IdRegister } from "./ids.ts";
import { type Capacity, KernelState } from "./kernel.ts";
import { maglevTable } from "./maglev.ts";
import { SimulatedMaps } from "./sim_support.ts";
import { backendKey, backends, keyOf, plan, type PlanInput } from "./test_support.ts";

/** `10.96.0.1:80` with its backends, of the Service `web`. */
function frontend(at: string, list: Backend[], rest: Partial<Frontend> = {}): Frontend {
  const { address, port } = splitHostPort(at);
  return {
    key: frontendKey(address, port, port === 0 ? 0 : 6, 0),
    portId: portId("default/web", `${port}/TCP`),
    backends: list,
    draining: [],
    affinitySeconds: 0,
    ...rest,
  };
}

const portId = (service: string, port: string) => ({ service, text: `${service}:${port}` });

/** Keys that have ceased to be desired. */
const removed = (...texts: string[]) => new Map(texts.map((text) => [text, keyOf(text)]));

const group = (frontends: Frontend[], service = "default/web") => ({
  service,
  frontends,
  issues: [],
});

/** Maps, the agent's copy of them, and a clock. */
function setUp(capacity: Capacity = { services: 100, backends: 20 }) {
  const maps = new SimulatedMaps(capacity);
  const kernel = new KernelState(capacity);
  const ids = new IdRegister();
  let now = 0;
  const run = (input: PlanInput, seconds = 2) => {
    now += seconds * 1000;
    const changes = plan(input, kernel, ids, now);
    finished(applyChanges(changes, kernel, maps, () => now));
    return changes;
  };
  /** Only the given frontends of one Service change. */
  const put = (frontends: Frontend[], seconds?: number) =>
    run({ groups: [group(frontends)], removed: removed() }, seconds);
  return { maps, kernel, ids, run, put };
}

Deno.test("plan() writes an extent, the port and the address, and then has nothing more to do", () => {
  const { maps, put } = setUp();
  const list = [
    frontend("10.96.0.1:80", backends("10.1.0.1:8080", "10.1.0.2:8080")),
    frontend("10.96.0.1:0", []),
  ];
  put(list);
  assert.deepEqual(maps.services.get("10.96.0.1:80/6/0"), {
    key: keyOf("10.96.0.1:80/6/0"),
    id: 1,
    first: 0,
    count: 2,
    totalWeight: 0,
    affinitySeconds: 0,
    flags: 0,
    table: undefined,
  });
  assert.deepEqual([...maps.services.keys()], ["10.96.0.1:80/6/0", "10.96.0.1:0/0/0"]);
  assert.equal(maps.services.get("10.96.0.1:0/0/0")?.flags, 1);
  assert.deepEqual(maps.backends[1], { addr: "10.1.0.2", port: 8080, flags: 0, weightEnd: 0 });
  assert.ok(isEmpty(put(list)));
});

Deno.test("plan() writes what the data plane is to know of a frontend as flags", () => {
  const { maps, put } = setUp();
  const list = backends("10.1.0.1:80");
  put([
    frontend("10.96.0.1:80", list),
    frontend("10.96.0.2:80", list, { localOnly: true }),
    frontend("10.96.0.3:80", list, { sourceRanges: [] }),
    frontend("10.96.0.4:80", list, { sourceRanges: ["10.0.0.0/8"], localOnly: true }),
    frontend("10.96.0.5:0", []),
  ]);
  assert.deepEqual([...maps.services.values()].map(({ flags }) => flags), [0, 4, 2, 6, 1]);
  assert.deepEqual([...maps.ranges], ["1 10.0.0.0/8"]);
});

const maglev = (tables: number) => ({ services: 10, backends: 40, maglev: { tables, size: 13 } });

Deno.test("plan() writes a Maglev table before the entry, and a new one when the list changes", () => {
  const { maps, put } = setUp(maglev(4));
  const entry = () => maps.services.get("10.96.0.1:80/6/0");
  const list = backends("10.1.0.1:80", "10.1.0.2:80");
  const seen: unknown[] = [];
  maps.onStep = () => seen.push([maps.tables.size, entry()?.table]);
  const two = [
    frontend("10.96.0.1:80", list, { maglev: true }),
    frontend("10.96.0.2:80", list, { maglev: true }),
  ];
  put(two);
  assert.deepEqual(seen.slice(2, 4), [[1, undefined], [1, 0]]);
  assert.deepEqual([...maps.services.values()].map(({ flags, table }) => [flags, table]), [
    [8, 0],
    [8, 0],
  ]);
  assert.deepEqual(maps.tables.get(0), maglevTable(list, 13));
  assert.ok(isEmpty(put(two)));
  const other = put([frontend("10.96.0.1:80", backends("10.1.0.3:80"), { maglev: true }), two[1]!]);
  assert.deepEqual([entry()?.table, other.freedTables], [1, []]);
  // The second is the last one to leave table 0, which rests then.
  assert.deepEqual(put([frontend("10.96.0.2:80", list)]).freedTables, [0]);
  assert.equal(maps.services.get("10.96.0.2:80/6/0")?.flags, 0);
  put([frontend("10.96.0.3:80", list, { maglev: true })], 0);
  assert.equal(maps.services.get("10.96.0.3:80/6/0")?.table, 2);
  put([frontend("10.96.0.4:80", backends("10.1.0.9:80"), { maglev: true })]);
  assert.equal(maps.services.get("10.96.0.4:80/6/0")?.table, 0);
});

Deno.test("plan() keeps Maglev tables over a restart, and repairs them", () => {
  const { maps, put } = setUp(maglev(4));
  const wanted = [frontend("10.96.0.1:80", backends("10.1.0.1:80"), { maglev: true })];
  put(wanted);
  const restart = () => {
    const kernel = maps.read(0);
    const changes = plan(
      { groups: [group(wanted)], removed: "others" },
      kernel,
      new IdRegister(),
      0,
    );
    finished(applyChanges(changes, kernel, maps, () => 0));
    return changes;
  };
  assert.ok(isEmpty(restart()));
  maps.tables.set(0, new Uint16Array(13).fill(7));
  assert.deepEqual(restart().freedTables, [0]);
  assert.equal(maps.services.get("10.96.0.1:80/6/0")?.table, 1);
  maps.services.get("10.96.0.1:80/6/0")!.table = 77;
  restart();
  assert.deepEqual(
    maps.tables.get(maps.services.get("10.96.0.1:80/6/0")!.table!),
    new Uint16Array(13),
  );
});

Deno.test("plan() spreads clients at random where there is no room for a Maglev table", () => {
  const { maps, put } = setUp(maglev(1));
  put([frontend("10.96.0.1:80", backends("10.1.0.1:80"), { maglev: true })]);
  const second = frontend("10.96.0.2:80", backends("10.1.0.2:80"), { maglev: true });
  assert.match(put([second]).shortages[0]!.message, /all 1 Maglev tables are taken/);
  assert.deepEqual([...maps.services.values()].map(({ flags, count }) => [flags, count]), [
    [8, 1],
    [0, 1],
  ]);
  const many = Array.from({ length: 14 }, (_, i) => `10.1.1.${i}:80`);
  const third = frontend("10.96.0.3:80", backends(...many), { maglev: true });
  assert.match(put([third]).shortages[0]!.message, /14 backends are too many.* of 13/);
  assert.equal(maps.services.get("10.96.0.3:80/6/0")?.flags, 0);
});

Deno.test("plan() adds source ranges before an entry asks for them, and removes them after", () => {
  const { maps, put } = setUp();
  const seen: string[] = [];
  maps.onStep = () =>
    seen.push(`${maps.services.get("10.96.0.1:80/6/0")?.flags} ${[...maps.ranges].join()}`);
  const to = (rest: Partial<Frontend>) => {
    seen.length = 0;
    put([frontend("10.96.0.1:80", [], rest)]);
    return [...seen];
  };
  assert.deepEqual(to({ sourceRanges: ["10.0.0.0/8"] }), [
    "undefined 1 10.0.0.0/8",
    "2 1 10.0.0.0/8",
  ]);
  assert.deepEqual(to({ sourceRanges: ["192.0.2.0/24"] }), [
    "2 1 10.0.0.0/8,1 192.0.2.0/24",
    "2 1 192.0.2.0/24",
  ]);
  assert.deepEqual(to({}), ["0 1 192.0.2.0/24", "0 "]);
});

Deno.test("plan() takes the source ranges of a deleted Service away, and at a full sync those that no Service has", () => {
  const { maps, put, run } = setUp();
  put([frontend("10.96.0.1:80", [], { sourceRanges: ["10.0.0.0/8"] })]);
  run({ groups: [], removed: removed("10.96.0.1:80/6/0") });
  assert.deepEqual([...maps.ranges], []);
  maps.ranges.add("77 10.0.0.0/8");
  const kernel = maps.read(0);
  finished(applyChanges(
    plan({ groups: [], removed: "others" }, kernel, new IdRegister(), 0),
    kernel,
    maps,
    () => 0,
  ));
  assert.deepEqual([...maps.ranges], []);
  assert.equal(kernel.ranges.size, 0);
});

Deno.test("plan() lets no more clients in when there is no room for source ranges", () => {
  const { maps, put } = setUp({ services: 10, backends: 10, sourceRanges: 2 });
  const ranges = (n: number) => Array.from({ length: n }, (_, i) => `10.${i}.0.0/16`);
  put([frontend("10.96.0.1:80", [], { sourceRanges: ranges(2) })]);
  const changes = put([frontend("10.96.0.1:80", [], { sourceRanges: ranges(3).slice(1) })]);
  assert.match(changes.shortages[0]!.message, /loadBalancerSourceRanges: all 2 entries/);
  assert.deepEqual([...maps.ranges], ["1 10.1.0.0/16"]);
  const again = put([frontend("10.96.0.1:80", [], { sourceRanges: ranges(3).slice(1) })]);
  assert.deepEqual(again.shortages, []);
  assert.deepEqual([...maps.ranges], ["1 10.1.0.0/16", "1 10.2.0.0/16"]);
});

Deno.test("plan() writes cumulative weights, and none when all are equal", () => {
  const { maps, put } = setUp();
  put([frontend("10.96.0.1:80", backends("10.1.0.1:80*3", "10.1.0.2:80*5!"))]);
  assert.equal(maps.services.get("10.96.0.1:80/6/0")?.totalWeight, 8);
  assert.deepEqual(maps.backends.slice(0, 2).map(({ weightEnd, flags }) => [weightEnd, flags]), [
    [3, 0],
    [8, 1],
  ]);
  put([frontend("10.96.0.1:80", backends("10.1.0.1:80*3", "10.1.0.2:80*3"))]);
  assert.equal(maps.services.get("10.96.0.1:80/6/0")?.totalWeight, 0);
});

Deno.test("plan() lets frontends of a Service with equal lists share an extent", () => {
  const { maps, put } = setUp();
  const list = backends("10.1.0.1:80");
  const two = [frontend("10.96.0.1:80", list), frontend("10.96.0.2:80", backends("10.1.0.1:80"))];
  assert.equal(put(two).extents.length, 1);
  const firsts = () => [...maps.services.values()].map(({ first }) => first);
  assert.deepEqual(firsts(), [0, 0]);
  // A third one joins without a write; the extent stays while one user is left.
  assert.equal(put([...two, frontend("10.96.0.3:80", list)]).extents.length, 0);
  const other = backends("10.1.0.9:80");
  assert.deepEqual(put([two[0]!, frontend("10.96.0.2:80", other)]).freed, []);
  assert.deepEqual(firsts(), [0, 1, 0]);
});

Deno.test("plan() lets two frontends swap their lists without a write to an extent", () => {
  const { maps, put } = setUp();
  const [a, b] = [backends("10.1.0.1:80"), backends("10.1.0.2:80")];
  put([frontend("10.96.0.1:80", a), frontend("10.96.0.2:80", b)]);
  const swapped = put([frontend("10.96.0.1:80", b), frontend("10.96.0.2:80", a)]);
  assert.deepEqual([swapped.extents, swapped.freed], [[], []]);
  assert.deepEqual([...maps.services.values()].map(({ first }) => first), [1, 0]);
});

Deno.test("plan() does not use a freed extent while it is quarantined", () => {
  const { maps, put } = setUp({ services: 10, backends: 3 });
  const first = () => maps.services.get("10.96.0.1:80/6/0")?.first;
  put([frontend("10.96.0.1:80", backends("10.1.0.1:80"))]);
  put([frontend("10.96.0.1:80", backends("10.1.0.2:80"))], 0);
  put([frontend("10.96.0.1:80", backends("10.1.0.3:80"))], 0.5);
  assert.equal(first(), 2);
  put([frontend("10.96.0.1:80", backends("10.1.0.4:80"))], 0.6);
  assert.equal(first(), 0);
});

Deno.test("plan() keeps what is there when no extent is free, and a new Service refuses connections", () => {
  const { maps, put, run } = setUp({ services: 10, backends: 3 });
  put([frontend("10.96.0.1:80", backends("10.1.0.1:80", "10.1.0.2:80"))]);
  const before = maps.contents();
  const changes = put([frontend("10.96.0.1:80", backends("10.1.0.3:80", "10.1.0.4:80"))]);
  assert.deepEqual(maps.contents(), before);
  assert.match(changes.shortages[0]!.message, /^no room for 2 backends: .*1 are free.*mapSizes/);
  const other = group(
    [frontend("10.96.0.9:80", backends("10.1.0.3:80", "10.1.0.4:80"), {
      portId: portId("default/b", "80"),
    })],
    "default/b",
  );
  assert.equal(run({ groups: [other], removed: removed() }).shortages[0]?.service, "default/b");
  assert.equal(maps.services.get("10.96.0.9:80/6/0")?.count, 0);
  // With the first one gone there is room, once its extent left quarantine.
  run({ groups: [], removed: removed("10.96.0.1:80/6/0") });
  assert.deepEqual(run({ groups: [other], removed: removed() }).shortages, []);
  assert.equal(maps.services.get("10.96.0.9:80/6/0")?.count, 2);
});

Deno.test("plan() deletes first when new entries fit only then, and leaves out what does not fit at all", () => {
  const { maps, run, put } = setUp({ services: 2, backends: 20 });
  const list = backends("10.1.0.1:80");
  put([frontend("10.96.0.1:80", list), frontend("10.96.0.1:0", [])]);
  const moved = [1, 2, 3].map((n) => frontend(`10.96.0.${n + 1}:80`, list));
  const changes = run({ groups: [group(moved)], removed: "others" });
  assert.equal(changes.deletesFirst, true);
  assert.deepEqual([...maps.services.keys()], ["10.96.0.2:80/6/0", "10.96.0.3:80/6/0"]);
  assert.match(changes.shortages[0]!.message, /10\.96\.0\.4:80.*all 2 entries/);
});

Deno.test("plan() keeps the ids of the kernel's entries over a restart", () => {
  const { maps, put } = setUp();
  put([frontend("10.96.0.1:80", backends("10.1.0.1:80"))]);
  const old = group([frontend("10.96.0.1:80", backends("10.1.0.2:80"))]);
  maps.services.get("10.96.0.1:80/6/0")!.id = 41;
  const kernel = maps.read(1000);
  const ids = new IdRegister(new Set([41]));
  const fresh = group([frontend("10.96.0.2:80", [], { portId: portId("default/new", "80/TCP") })]);
  const changes = plan({ groups: [fresh, old], removed: removed() }, kernel, ids, 0);
  assert.deepEqual(changes.services.map(({ id }) => id), [42, 41]);
});

Deno.test("plan() gives one of two ports with the same id, and a port with id 0, another", () => {
  const { maps } = setUp();
  const entry = { id: 5, first: 0, count: 0, totalWeight: 0, affinitySeconds: 0, flags: 0 };
  for (const [n, id] of [[1, 5], [2, 5], [3, 0]] as const) {
    const key = keyOf(`10.96.0.${n}:80/6/0`);
    maps.services.set(key.text, { ...entry, key, id });
  }
  const groups = [1, 2, 3].map((n) =>
    group([frontend(`10.96.0.${n}:80`, [], { portId: portId(`default/${n}`, "80/TCP") })])
  );
  const changes = plan(
    { groups, removed: removed() },
    maps.read(0),
    new IdRegister(new Set([5])),
    0,
  );
  assert.deepEqual(changes.services.map(({ key, id }) => [key.text, id]), [
    ["10.96.0.2:80/6/0", 6],
    ["10.96.0.3:80/6/0", 7],
  ]);
});

Deno.test("plan() says which backends a frontend lost, and which of them are only draining", () => {
  const { put, run } = setUp();
  put([frontend("10.96.0.1:80", backends("10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80"))]);
  const changes = put([
    frontend("10.96.0.1:80", backends("10.1.0.1:80"), { draining: backends("10.1.0.2:80") }),
  ]);
  assert.deepEqual(changes.stale, [{
    frontend: keyOf("10.96.0.1:80/6/0"),
    backends: [
      { ...backendKey("10.1.0.2:80"), gone: false },
      { ...backendKey("10.1.0.3:80"), gone: true },
    ],
  }]);
  assert.deepEqual(run({ groups: [], removed: "others" }).stale, [{
    frontend: keyOf("10.96.0.1:80/6/0"),
    backends: [{ ...backendKey("10.1.0.1:80"), gone: true }],
  }]);
});

Deno.test("plan() repairs extents that overlap, leave the array, or hold something else", () => {
  const { maps, put } = setUp();
  const wanted = [1, 2, 3, 4].map((n) =>
    frontend(`10.96.0.${n}:80`, backends(`10.1.0.${n}:80`, `10.1.1.${n}:80`))
  );
  put(wanted);
  const right = maps.contents();
  maps.services.get("10.96.0.1:80/6/0")!.first = 3; // across the extents of 2 and 3
  maps.services.get("10.96.0.2:80/6/0")!.first = 19; // half outside
  maps.backends[7] = { addr: "6.6.6.6", port: 6, flags: 0, weightEnd: 0 };
  const foreign = keyOf("6.6.6.6:6/6/0");
  const copied = maps.services.get("10.96.0.3:80/6/0")!;
  maps.services.set(foreign.text, { ...copied, key: foreign, id: 9 });
  const kernel = maps.read(1000);
  const ids = new IdRegister();
  const changes = plan({ groups: [group(wanted)], removed: "others" }, kernel, ids, 0);
  finished(applyChanges(changes, kernel, maps, () => 0));
  assert.deepEqual(maps.contents(), right);
  // All is accounted for: what is not in use is free again once it left quarantine.
  kernel.extents.allocate(1, 2000);
  assert.deepEqual(kernel.extents.room.free, 20 - 8 - 1);
});
