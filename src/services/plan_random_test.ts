/**
 * Thousands of random changes of Services, slices and Endpoints. After every single element that is written, every
 * entry must lead to exactly its old or its new backends, also for a program that read the entry a moment ago; after each
 * round the maps must be what a naive reading of the objects says.
 */
import assert from "node:assert/strict";
import type { EndpointSlice, Protocol, Service } from "../model/objects.ts";
import { applyChanges, isEmpty } from "./apply.ts";
import { DesiredState } from "./desired.ts";
import { IdRegister } from "./ids.ts";
import type { ServiceEntry } from "./kernel.ts";
import { plan, type PlanInput } from "./plan.ts";
import { type Contents, naiveContents, SimulatedMaps } from "./sim.ts";
import { generator, remove, service, slice, upsert } from "./test_support.ts";

const restMs = 1000;
const node = "node1";

class World {
  readonly dice;
  readonly maps;
  desired = new DesiredState(node);
  kernel;
  ids = new IdRegister();
  now = 0;
  /** Entries that were replaced or deleted, until no program can be using them any more. */
  private past: { entry: ServiceEntry; contents: Contents; until: number }[] = [];

  constructor(seed: number, capacity: { services: number; backends: number }) {
    this.dice = generator(seed);
    this.maps = new SimulatedMaps(capacity);
    this.kernel = this.maps.read(restMs);
  }

  /** One object comes, changes or goes. */
  change() {
    const { below, pick } = this.dice;
    const name = `s${below(8)}`;
    const kind = below(10);
    if (kind === 0) this.desired.apply(remove(service(name)));
    else if (kind <= 3) this.desired.apply(upsert(this.service(name)));
    else if (kind === 4) {
      const object = slice(name, [], { name: `${name}-${below(3)}` });
      const existing = this.desired.state.slices.get(`default/${name}`)?.get(
        `default/${object.name}`,
      );
      if (existing !== undefined) this.desired.apply(remove(existing));
    } else if (kind === 5) {
      const subsets = [this.slice(name), this.slice(name)];
      const object = { kind: "Endpoints" as const, namespace: "default", name, subsets };
      this.desired.apply(pick([upsert, remove])(object));
    } else this.desired.apply(upsert(this.slice(name)));
  }

  private service(name: string): Service {
    const { below, pick } = this.dice;
    const protocols: Protocol[] = ["TCP", "TCP", "UDP", "SCTP"];
    const ports = Array.from({ length: below(5) }, (_, i) => ({
      name: pick(["a", "b"]) + i,
      protocol: pick(protocols),
      port: 80 + i,
      targetPort: 80,
    }));
    return service(name, {
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

  private slice(name: string): EndpointSlice {
    const { below, pick } = this.dice;
    const endpoints = Array.from(
      { length: below(6) },
      () =>
        `10.1.0.${below(12)} ${
          pick(["", "", "", "notready", "terminating", "terminating serving"])
        }` +
        pick(["", " @node1", " @node2"]),
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
    const short = new Set(changes.services.map(({ key }) => key));
    const after = naiveContents(this.desired.state, node);
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
      for (const { entry, contents } of this.past) assert.equal(maps.contentsOf(entry), contents);
    };
    this.past = this.past.filter(({ until }) => until > this.now);
    for (const [key, entry] of entries) {
      if (!unwatched.has(key)) {
        this.past.push({ entry, contents: before.get(key)!, until: this.now + restMs });
      }
    }
    applyChanges(changes, this.kernel, maps, this.now);
    return changes;
  }

  incremental() {
    const changes = this.apply(this.desired.round());
    this.desired.settled();
    return changes;
  }

  /** As an agent that starts: all from the maps, all desired. */
  restart(unwatched?: ReadonlySet<string>) {
    this.kernel = this.maps.read(restMs);
    this.now += restMs; // what rested before the restart is not known to rest
    this.ids = new IdRegister(new Set([...this.maps.services.values()].map(({ id }) => id)));
    this.desired = new DesiredState(node, this.desired.state);
    return this.apply({ groups: this.desired.round(true).groups, removed: "others" }, unwatched);
  }

  /** Alters the maps behind the agent's back; returns the keys of entries that are wrong now. */
  damage(): Set<string> {
    const { below, pick } = this.dice;
    const { services, backends } = this.maps;
    const before = this.maps.contents();
    for (let n = 1 + below(4); n > 0; n--) {
      const key = services.size > 0 ? pick([...services.keys()]) : "10.96.0.1:80/6/0";
      const entry = services.get(key);
      const what = below(6);
      if (what === 0) services.delete(key);
      else if (what === 1) {
        backends[below(backends.length)] = { addr: "6.6.6.6", port: 6, flags: 0, weightEnd: 9 };
      } else if (what === 2) {
        services.set(`6.6.6.${below(9)}:6/6/1`, blankEntry(below(99), below(40)));
      } else if (entry === undefined) continue;
      else if (what === 3) {
        services.set(key, {
          ...entry,
          first: entry.first + 1 - below(3) * 2 < 0 ? 1 : entry.first + 1,
        });
      } else if (what === 4) services.set(key, { ...entry, count: entry.count + below(30) });
      else services.set(key, { ...entry, id: below(4), totalWeight: below(3) });
    }
    this.past = [];
    const wrong = [...before].filter(([key, contents]) => {
      const entry = services.get(key);
      return entry === undefined || this.maps.contentsOf(entry) !== contents;
    });
    return new Set([
      ...wrong.map(([key]) => key),
      ...[...services.keys()].filter((key) => !before.has(key)),
    ]);
  }

  check() {
    assert.deepEqual(sorted(this.maps.contents()), sorted(naiveContents(this.desired.state, node)));
    const ids = [...this.maps.services.values()].map(({ id }) => id);
    assert.ok(!ids.includes(0), "an id is 0");
  }
}

function blankEntry(id: number, first: number): ServiceEntry {
  return { id, first, count: 2, totalWeight: 0, affinitySeconds: 0, flags: 0 };
}

function sorted(map: Map<string, Contents>): [string, Contents][] {
  return [...map].sort(([a], [b]) => a < b ? -1 : 1);
}

Deno.test("plan() keeps every entry whole over four thousand random rounds", () => {
  const world = new World(1, { services: 200, backends: 600 });
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
  const world = new World(2, { services: 200, backends: 600 });
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
    for (const { service } of changes.shortages) world.desired.touch(service);
    world.now += below(2) * below(2500);
  }
  assert.ok(shortages > 100, `only ${shortages} shortages`);
  // Everything but two Services goes; what is left must fit in the end.
  for (let i = 2; i < 8; i++) world.desired.apply(remove(service(`s${i}`)));
  for (let i = 0; i < 4; i++) {
    world.now += 2 * restMs;
    for (const { service } of world.incremental().shortages) world.desired.touch(service);
  }
  world.check();
});
