/**
 * Thousands of random changes of Services, slices, Endpoints, Nodes and Pods. After every single element that is written, every
 * entry must lead to exactly its old or its new backends, also for a program that read the entry a moment ago; after each
 * round the maps must be what a naive reading of the objects says.
 */
import assert from "node:assert/strict";
import { finished } from "../model/steps.ts";
import type { FrontendKey } from "../model/frontend.ts";
import type { EndpointSlice, Protocol, Service } from "../model/objects.ts";
import { applyChanges, isEmpty } from "./apply.ts";
import { DesiredState } from "./desired.ts";
import { IdRegister } from "./ids.ts";
import type { ServiceEntry } from "./kernel.ts";
import { naiveMaps, tableSize } from "./naive_support.ts";
import { type Contents, SimulatedMaps } from "./sim_support.ts";
import {
  generator,
  node as nodeObject,
  plan,
  type PlanInput,
  pod,
  remove,
} from "./test_support.ts";
import { keyOf, service, slice, syncGroups, upsert } from "./test_support.ts";

const quarantineMs = 1000;
const node = "node1";

class World {
  readonly dice;
  readonly maps;
  desired = new DesiredState(node);
  kernel;
  ids = new IdRegister();
  now = 0;
  /** Entries that were replaced or deleted, until no program can be using them any more. */
  #past: { entry: ServiceEntry; contents: Contents; until: number }[] = [];

  constructor(seed: number, capacity: { services: number; backends: number }) {
    this.dice = generator(seed);
    this.maps = new SimulatedMaps({ ...capacity, maglev: { tables: 300, size: tableSize } });
    this.kernel = this.maps.read(quarantineMs);
  }

  /** One object comes, changes or goes. */
  change() {
    const { below, pick } = this.dice;
    const name = `s${below(8)}`;
    const kind = below(13);
    if (kind === 0) this.desired.apply(remove(service(name)));
    else if (kind <= 3) this.desired.apply(upsert(this.#service(name)));
    else if (kind === 4) {
      const object = slice(name, [], { name: `${name}-${below(3)}` });
      const existing = this.desired.state.slices.get(`default/${name}`)?.get(
        `default/${object.name}`,
      );
      if (existing !== undefined) this.desired.apply(remove(existing));
    } else if (kind === 5) {
      const subsets = [this.#slice(name), this.#slice(name)];
      const object = { kind: "Endpoints" as const, namespace: "default", name, subsets };
      this.desired.apply(pick([upsert, remove])(object));
    } else if (kind === 6) this.desired.apply(pick([upsert, upsert, remove])(this.#node()));
    else if (kind === 7) this.desired.apply(pick([upsert, upsert, remove])(this.#pod()));
    else this.desired.apply(upsert(this.#slice(name)));
  }

  #node() {
    const { pick } = this.dice;
    const zone = pick([undefined, "a", "a", "b", "c"]);
    const addresses = {
      internalIPs: pick([[], ["192.0.2.3"], ["192.0.2.2"]]),
      podCIDRs: pick([[], ["10.96.0.4/31"], ["192.0.2.0/31"], ["10.96.0.6/31", "not a prefix"]]),
    };
    const name = pick(["node1", "node1", "node2"]);
    return nodeObject(name, zone === undefined ? addresses : { zone, ...addresses });
  }

  #pod() {
    const { below } = this.dice;
    const n = below(4);
    // No two Pods with one address: which of them an endpoint means could not be known.
    const podIPs = below(2) ? [`10.1.0.${n}`] : [];
    return pod(`p${n}`, { podIPs, ...(below(3) ? { weight: 1 + below(3) } : {}) });
  }

  #service(name: string): Service {
    const { below, pick } = this.dice;
    const protocols: Protocol[] = ["TCP", "TCP", "UDP", "SCTP"];
    const ports = Array.from({ length: below(5) }, (_, i) => ({
      name: pick(["a", "b"]) + i,
      protocol: pick(protocols),
      port: 80 + i,
      targetPort: 80,
      ...(below(3) ? {} : { nodePort: 30000 + below(6) }),
    }));
    // Addresses of one kind may be of the other, too.
    const addresses = () => [pick(["192.0.2.1", "192.0.2.2", "192.0.2.3", "10.96.0.1"])];
    return service(name, {
      type: pick(["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer", "ExternalName"]),
      ...(below(3) ? {} : { externalIPs: addresses() }),
      ...(below(2) ? {} : { loadBalancerIPs: addresses() }),
      ...(below(2) ? {} : { externalTrafficPolicy: pick(["Cluster", "Local"]) }),
      ...(below(2) ? {} : { healthCheckNodePort: 30000 + below(6) }),
      ...(below(2) ? {} : { lbAlgorithm: pick(["maglev" as const, "random" as const]) }),
      ...(below(3) ? {} : { sourceRanges: this.#ranges() }),
      ...(below(3)
        ? {}
        : { trafficDistribution: pick(["PreferSameZone" as const, "PreferSameNode" as const]) }),
      clusterIPs: Array.from({ length: 1 + below(2) }, () => `10.96.0.${below(9)}`),
      headless: below(20) === 0,
      ports,
      publishNotReadyAddresses: below(5) === 0,
      internalTrafficPolicy: pick(["Cluster", "Cluster", "Local"]),
      affinitySeconds: pick([0, 0, 60]),
      ...(below(2) ? { createdAt: below(5) } : {}),
      ...(below(4) ? {} : { weight: 1 + below(3) }),
    });
  }

  #ranges(): string[] {
    const { below, pick } = this.dice;
    const some = ["10.0.0.0/8", "10.1.0.0/16", "203.0.113.0/24", "192.0.2.0/24"];
    const count = below(4);
    const found = some.filter(() => below(4) < count);
    return pick([found, found, found, found, [...found, "0.0.0.0/0"]]);
  }

  #slice(name: string): EndpointSlice {
    const { below, pick } = this.dice;
    const hints = pick([0, 0, 1, 2]);
    const endpoints = Array.from(
      { length: below(6) },
      () =>
        `10.1.0.${below(12)} ${
          pick(["", "", "", "notready", "terminating", "terminating serving"])
        }` +
        pick(["", " @node1", " @node2"]) + pick(["", "", " in:a", " in:b"]) +
        (hints === 0 ? "" : pick([" zone:a", " zone:b", " zone:a,b", " zone:a"])) +
        (hints === 2 ? pick([" node:node1", " node:node2", ""]) : "") +
        pick(["", "", ` pod:p${below(4)}`]),
    );
    const ports = ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"].flatMap((portName) =>
      (["TCP", "UDP"] as const).filter(() => below(6) > 0)
        .map((protocol) => ({ name: portName, protocol, port: 8080 + below(2) }))
    );
    return slice(name, endpoints, {
      name: `${name}-${below(3)}`,
      ports,
      ...(below(4) ? {} : { weight: 1 + below(3) }),
    });
  }

  /** Plans and applies, looking at the maps after each element. Entries in `unwatched` were wrong before. */
  apply(input: PlanInput, unwatched: ReadonlySet<string> = new Set()) {
    const { maps } = this;
    const before = maps.contents();
    const entries = new Map(maps.services);
    const changes = plan(input, this.kernel, this.ids, this.now);
    const short = new Set(changes.services.map(({ key }) => key.text));
    const ranges = new Map([...maps.services].map(([key, entry]) => [key, maps.rangesOf(entry)]));
    const naive = naiveMaps(this.desired.state, node);
    const after = naive.contents;
    maps.onStep = () => {
      for (const [key, contents] of maps.contents()) {
        if (unwatched.has(key)) continue;
        const shortened = short.has(key) && maps.services.get(key)!.count === 0 && !before.has(key);
        assert.ok(
          contents === before.get(key) || contents === after.get(key) || shortened,
          `${key} is ${contents}, was ${before.get(key)}, shall be ${after.get(key)}`,
        );
      }
      for (const key of before.keys()) {
        if (after.has(key) && !unwatched.has(key)) {
          assert.ok(maps.services.has(key), `${key} is missing`);
        }
      }
      for (const [key, held] of maps.allRanges()) {
        if (held === undefined || unwatched.has(key)) continue;
        const old = ranges.get(key) ?? [], wanted = naive.ranges.get(key) ?? old;
        const missing = wanted.filter((one) => !held.includes(one));
        assert.ok(
          missing.every((one) => ranges.get(key) !== undefined && !old.includes(one)),
          `${key} is for ${held}, was for ${old}, shall be for ${wanted}`,
        );
      }
      for (const { entry, contents } of this.#past) assert.equal(maps.contentsOf(entry), contents);
    };
    this.#past = this.#past.filter(({ until }) => until > this.now);
    for (const [key, entry] of entries) {
      if (!unwatched.has(key)) {
        this.#past.push({ entry, contents: before.get(key)!, until: this.now + quarantineMs });
      }
    }
    finished(applyChanges(changes, this.kernel, maps, () => this.now));
    return changes;
  }

  incremental() {
    const changes = this.apply(syncGroups(this.desired));
    this.desired.commit();
    return changes;
  }

  /** As an agent that starts: all from the maps, all desired. */
  restart(unwatched?: ReadonlySet<string>) {
    this.kernel = this.maps.read(quarantineMs);
    this.now += quarantineMs; // what rested before the restart is not known to rest
    this.ids = new IdRegister(new Set([...this.maps.services.values()].map(({ id }) => id)));
    this.desired = new DesiredState(node, this.desired.state);
    return this.apply(
      { groups: syncGroups(this.desired, true).groups, removed: "others" },
      unwatched,
    );
  }

  /** Alters the maps behind the agent's back; returns the keys of entries that are wrong now. */
  damage(): Set<string> {
    const { below, pick } = this.dice;
    const { services, backends, ranges, tables } = this.maps;
    const before = this.maps.contents();
    const rangesBefore = this.maps.allRanges();
    for (let n = 1 + below(4); n > 0; n--) {
      const key = services.size > 0 ? pick([...services.keys()]) : "10.96.0.1:80/6/0";
      const entry = services.get(key);
      const what = below(9);
      if (what === 8) {
        const table = pick([...services.values()].map(({ table }) => table ?? 0)) ?? 0;
        tables.set(table, new Uint16Array(tableSize));
      } else if (what === 6) ranges.add(`${entry?.id ?? 77} 6.0.0.0/${8 + below(3)}`);
      else if (what === 7) ranges.delete(pick([...ranges, ""]));
      else if (what === 0) services.delete(key);
      else if (what === 1) {
        backends[below(backends.length)] = { addr: "6.6.6.6", port: 6, flags: 0, weightEnd: 9 };
      } else if (what === 2) {
        const entry = blankEntry(keyOf(`6.6.6.${below(9)}:6/6/1`), below(99), below(40));
        services.set(entry.key.text, entry);
      } else if (entry === undefined) continue;
      else if (what === 3) {
        services.set(key, {
          ...entry,
          first: entry.first + 1 - below(3) * 2 < 0 ? 1 : entry.first + 1,
        });
      } else if (what === 4) services.set(key, { ...entry, count: entry.count + below(30) });
      else services.set(key, { ...entry, id: below(4), totalWeight: below(3) });
    }
    this.#past = [];
    const wrong = [...before].filter(([key, contents]) => {
      const entry = services.get(key);
      return entry === undefined || this.maps.contentsOf(entry) !== contents ||
        this.maps.rangesOf(entry)?.join() !== rangesBefore.get(key)?.join();
    });
    return new Set([
      ...wrong.map(([key]) => key),
      ...[...services.keys()].filter((key) => !before.has(key)),
    ]);
  }

  check() {
    const { contents, ranges, health } = naiveMaps(this.desired.state, node);
    assert.deepEqual(sorted(this.maps.contents()), sorted(contents));
    assert.deepEqual(sorted(this.maps.allRanges()), sorted(ranges));
    const asked = new Set([...this.maps.services.values()].map(({ id }) => `${id}`));
    for (const range of this.maps.ranges) assert.ok(asked.has(range.split(" ")[0]!), "debris");
    const checks = [...this.desired.healthChecks].map(([port, { name, localEndpoints }]) =>
      [port, `${name} ${localEndpoints}`] as const
    );
    assert.deepEqual(new Map(checks.sort()), new Map([...health].sort()));
    const ids = [...this.maps.services.values()].map(({ id }) => id);
    assert.ok(!ids.includes(0), "an id is 0");
  }
}

function blankEntry(key: FrontendKey, id: number, first: number): ServiceEntry {
  return { key, id, first, count: 2, totalWeight: 0, affinitySeconds: 0, flags: 0 };
}

function sorted<T>(map: Map<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => a < b ? -1 : 1);
}

Deno.test("plan() keeps every entry whole over four thousand random rounds", () => {
  const world = new World(1, { services: 400, backends: 1600 });
  const { below } = world.dice;
  for (let round = 0; round < 4000; round++) {
    for (let n = below(4); n >= 0; n--) world.change();
    world.incremental();
    world.check();
    world.now += below(2) * below(2500);
    if (round % 50 === 0) assert.ok(isEmpty(world.restart()), "a restart has nothing to do");
  }
});

Deno.test("plan() repairs maps that were altered behind its back, a thousand times", () => {
  const world = new World(2, { services: 400, backends: 1600 });
  const { below } = world.dice;
  for (let round = 0; round < 1000; round++) {
    for (let n = below(3); n >= 0; n--) world.change();
    world.incremental();
    world.restart(world.damage());
    world.check();
    assert.ok(isEmpty(world.restart()), "what was repaired stays");
  }
});

Deno.test("plan() never breaks an entry in maps that are too small, and uses them when there is room again", () => {
  const world = new World(3, { services: 20, backends: 60 });
  const { below } = world.dice;
  let shortages = 0;
  for (let round = 0; round < 3000; round++) {
    for (let n = below(4); n >= 0; n--) world.change();
    const changes = world.incremental();
    shortages += changes.shortages.length;
    for (const { service } of changes.shortages) world.desired.invalidate(service);
    world.now += below(2) * below(2500);
  }
  assert.ok(shortages > 100, `only ${shortages} shortages`);
  // Everything but two Services goes; what is left must fit in the end.
  for (let i = 2; i < 8; i++) world.desired.apply(remove(service(`s${i}`)));
  const ports = [{ name: "a0", protocol: "TCP" as const, port: 80, targetPort: 80 }];
  world.desired.apply(upsert(service("s0", { ports })));
  world.desired.apply(upsert(service("s1", { ports, clusterIPs: ["10.96.0.2"] })));
  for (let i = 0; i < 4; i++) {
    world.now += 2 * quarantineMs;
    for (const { service } of world.incremental().shortages) world.desired.invalidate(service);
  }
  world.check();
});
