/** The reconciler on maps of the real kernel: every way in, source ranges, Maglev tables; and a second agent on them. */
import assert from "node:assert/strict";
import { createLog } from "../../src/agent/log.ts";
import { finished } from "../../src/model/steps.ts";
import { AlterationCheck, readKernel } from "../../src/agent/services/kernel_maps.ts";
import { Reconciler } from "../../src/agent/services/reconciler.ts";
import { type MapName, maps as layout, SCOPE, SERVICE_FLAG } from "../../src/bpf/layout.ts";
import { openMap } from "../../src/bpf/map.ts";
import { mapCreate } from "../../src/bpf/syscall.ts";
import { frontendKey } from "../../src/model/frontend.ts";
import type { Service } from "../../src/model/objects.ts";
import { MAGLEV_SIZE, maglevTable } from "../../src/services/maglev.ts";
import { service, slice, upsert } from "../../src/services/test_support.ts";
import * as needs from "../support/needs.ts";

const NO_PREALLOC = 1;

/** Unpinned maps of the real layout. */
class Maps implements Disposable {
  readonly services = openMap(create("services", 64), layout.services);
  readonly backends = openMap(create("backends", 64), layout.backends);
  readonly source_ranges = openMap(create("source_ranges", 64, NO_PREALLOC), layout.source_ranges);
  readonly maglev = openMap(create("maglev", 1024), layout.maglev);
  readonly sessions = openMap(create("sessions", 64), layout.sessions);
  readonly assured = openMap(create("assured", 64), layout.assured);
  readonly names = openMap(create("names", 64, NO_PREALLOC), layout.names);

  [Symbol.dispose]() {
    for (const map of Object.values(this) as { close(): void }[]) map.close();
  }
  ranges(): string[] {
    return this.source_ranges.entries().map(([{ prefixlen, service_id, addr }]) =>
      `${service_id} ${addr}/${prefixlen - 32}`
    ).sort();
  }
  /** Every map's contents as text. */
  snapshot(): string {
    return JSON.stringify(
      [this.services, this.backends, this.source_ranges, this.maglev].map((map) =>
        [...map.entries()].map((one) => JSON.stringify(one)).sort()
      ),
    );
  }
}

function create(name: MapName, maxEntries: number, flags = 0): number {
  const { type, key, value } = layout[name];
  return mapCreate({ type, keySize: key.size, valueSize: value.size, maxEntries, name, flags });
}

function reconciler(maps: Maps) {
  return new Reconciler({
    maps,
    nodeName: "node1",
    log: createLog("silent", "node1"),
    resyncMs: 3_600_000,
    complete: () => true,
  });
}

const web = (rest: Partial<Service> = {}) =>
  service("web", {
    type: "LoadBalancer",
    loadBalancerIPs: ["198.51.100.1"],
    externalTrafficPolicy: "Local",
    sourceRanges: ["203.0.113.0/24", "10.0.0.0/8"],
    lbAlgorithm: "maglev",
    ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 8080, nodePort: 30080 }],
    ...rest,
  });

/** Runs an agent's first round over these Services. */
async function round(maps: Maps, ...services: Service[]) {
  const agent = reconciler(maps);
  const endpoints = ["10.1.0.1 @node1", "10.1.0.2 @node2", "10.1.0.3 @node2"];
  agent.changes([...services.map(upsert), upsert(slice("web", endpoints))]);
  await agent.start();
  agent.stop();
}

Deno.test({
  name:
    "Reconciler writes every way in, source ranges and Maglev tables, and a second one keeps them",
  ignore: !needs.root(),
  async fn() {
    using maps = new Maps();
    await round(maps, web());
    const { MAGLEV, LOCAL_ONLY, SOURCE_RANGES } = SERVICE_FLAG;
    const all = [MAGLEV, 3], local = [MAGLEV | LOCAL_ONLY, 1];
    const entries = maps.services.entries().map(([{ addr, port, proto, scope }, entry]) =>
      [frontendKey(addr, port, proto, scope).text, [entry.flags, entry.count]] as const
    );
    assert.deepEqual(Object.fromEntries(entries), {
      "10.96.0.1:80/6/0": all,
      "10.96.0.1:0/0/0": [SERVICE_FLAG.ADDRESS, 0],
      "198.51.100.1:80/6/0": [MAGLEV | SOURCE_RANGES, 3],
      "198.51.100.1:80/6/1": [MAGLEV | LOCAL_ONLY | SOURCE_RANGES, 1],
      "0.0.0.0:30080/6/0": all,
      "0.0.0.0:30080/6/1": local,
    });
    const key = { addr: "0.0.0.0", port: 30080, proto: 6, scope: SCOPE.CLUSTER };
    const { id, first, table } = maps.services.get(key)!;
    assert.deepEqual(maps.ranges(), [`${id} 10.0.0.0/8`, `${id} 203.0.113.0/24`]);

    const backends = Array.from({ length: 3 }, (_, i) => ({ ...maps.backends.get(first + i)! }))
      .map(({ addr, port }) => ({ addr, port, weight: 1 }));
    const slots = Math.ceil(MAGLEV_SIZE / 4);
    const places = Array.from({ length: slots }, (_, i) => maps.maglev.get(table * slots + i)!)
      .flatMap(({ backend }) => backend);
    assert.deepEqual(places.slice(0, MAGLEV_SIZE), [...maglevTable(backends)]);
    const kernel = finished(readKernel(maps));
    assert.ok(kernel.tables.holds(table, maglevTable(backends)));

    const before = maps.snapshot();
    await round(maps, web());
    assert.equal(maps.snapshot(), before);
    maps.source_ranges.set({ prefixlen: 32 + 24, service_id: id, addr: "6.6.6.0" }, 0);
    maps.source_ranges.set({ prefixlen: 32 + 24, service_id: 77, addr: "6.6.6.0" }, 0);
    await round(maps, web());
    assert.equal(maps.snapshot(), before);
    await round(maps, web({ type: "ClusterIP" }));
    assert.deepEqual(maps.ranges(), []);
    assert.equal(maps.services.entries().length, 2);
    await round(maps);
    assert.equal(maps.services.entries().length, 0);
  },
});

/** The check on maps that have what an agent wrote. */
async function checked(maps: Maps) {
  await round(maps, web());
  return { check: new AlterationCheck(maps), kernel: finished(readKernel(maps)) };
}

Deno.test("AlterationCheck finds each change of another program until it is mended", {
  ignore: !needs.root(),
}, async () => {
  using maps = new Maps();
  const { check, kernel } = await checked(maps);
  const found = () => [check.isAltered(kernel, 0), check.isAltered(kernel, 0)];
  assert.deepEqual(found(), [false, false]);
  // The map's order is random, and some entries have but one backend.
  const [key, entry] = maps.services.entries().find(([, { count }]) => count === 3)!;
  const backend = maps.backends.get(entry.first)!;
  const [[range, flag]] = maps.source_ranges.entries() as [
    ReturnType<typeof maps.source_ranges.entries>[number],
  ];
  const alterations: [change: () => void, back: () => void][] = [
    [() => maps.services.delete(key), () => maps.services.set(key, entry)],
    [() => maps.services.set(key, { ...entry, count: 2 }), () => maps.services.set(key, entry)],
    [
      () => maps.backends.set(entry.first, { ...backend, port: 1 }),
      () => maps.backends.set(entry.first, backend),
    ],
    [() => maps.source_ranges.delete(range), () => maps.source_ranges.set(range, flag)],
  ];
  for (const [change, back] of alterations) {
    change();
    assert.deepEqual(found(), [true, true], `${change}`);
    back();
    assert.deepEqual(found(), [false, false], `${back}`);
  }
  // What the agent's own writing has replaced is not whole again.
  const former = kernel.services.get(frontendKey(key.addr, key.port, key.proto, key.scope).text)!;
  kernel.services.set(former.key.text, { ...former, count: 1 });
  assert.equal(check.isAltered(kernel, 0), false, "by the fingerprint");
  check.forget(0);
  assert.equal(check.isAltered(kernel, 0), true);
});

Deno.test("AlterationCheck compares all in a pause of the own changes, or once a minute", {
  ignore: !needs.root(),
}, async () => {
  using maps = new Maps();
  const { check, kernel } = await checked(maps);
  const due = (...times: number[]) => times.map((now) => check.isDue(now));
  assert.deepEqual(due(0), [true], "at the start");
  assert.equal(check.isAltered(kernel, 0), false);
  assert.deepEqual(due(1, 50_000), [true, true], "a fingerprint is always in time");
  for (let now = 0; now < 100_000; now += 1000) {
    check.forget(now);
    if (check.isDue(now + 999)) {
      assert.equal(now, 60_000);
      break;
    }
  }
  assert.equal(check.isAltered(kernel, 60_999), false);
  check.forget(61_000);
  assert.deepEqual(due(62_999, 63_000), [false, true]);
});

Deno.test("names of Service ports are in the kernel, and go with a full round", {
  ignore: !needs.root(),
}, async () => {
  using maps = new Maps();
  const named = () =>
    new Map(maps.names.entries().map(([{ kind, id }, { text }]) => [`${kind} ${id}`, text]));
  await round(maps, web());
  const ids = new Set(maps.services.entries().map(([, { id }]) => id));
  for (const id of ids) assert.match(named().get(`1 ${id}`) ?? "", /^default\/web(:80\/TCP)?$/);
  assert.equal(named().size, ids.size);
  maps.names.set({ kind: 2, id: 7 }, { text: "node7" });
  await round(maps);
  assert.deepEqual([...named()], [["2 7", "node7"]]);
});
