/**
 * Snapshots of the node for the page, read from the kernel on request and cached: however many pages are open, reading takes at
 * most a tenth of the time.
 */
import { monotonicNow } from "../linux/clock.ts";
import { readCounters } from "../view/counters.ts";
import { type NodePlace, NodeReader } from "../view/node.ts";
import { formatPort } from "../view/names.ts";
import { readBackends, readServices, type ServiceRow } from "../view/services.ts";
import { readSessions } from "../view/sessions.ts";
import { readTopology } from "../view/topology.ts";
import { parseDevices, Rates } from "./rate.ts";
import type {
  CounterRate,
  DeviceRate,
  ServiceDetail,
  ServiceNow,
  SessionNow,
  TopologyNow,
} from "./types.ts";

/** Seconds within which a session has to have had a packet to count as active. */
const ACTIVE = 5;
/** Services whose details are cached. */
const MOST_DETAILS = 16;
const ALL = { names: [] } as const;

/** So long a snapshot is served again, ms; one that took longer to read, nine times as long as that took. */
const TTL_MS = 900;

/** A snapshot with a time to live. */
class Cached<T> {
  readonly #read: (at: number) => T;
  #value: { until: number; value: T } | undefined;

  constructor(read: (at: number) => T) {
    this.#read = read;
  }

  get(): T {
    const at = Number(monotonicNow()) / 1e6;
    if (this.#value !== undefined && at < this.#value.until) return this.#value.value;
    const value = this.#read(at);
    const took = Number(monotonicNow()) / 1e6 - at;
    this.#value = { until: at + took + Math.max(TTL_MS, 9 * took), value };
    return value;
  }
}

/** Snapshots of a node. They throw NotInstalledError while there is no data plane. */
export class NodeSnapshots {
  readonly #counterRates = new Rates();
  readonly #deviceRates = { received: new Rates(), sent: new Rates() };
  #seen: { at: number; names: Set<string> } | undefined;

  constructor(readonly place: NodePlace) {}

  readonly #counters = new Cached((at) => this.#readCounters(at));
  readonly #topology = new Cached((at) => this.#readTopology(at));
  readonly #sessions = new Cached((at) => this.#readSessions(at));
  readonly #entries = new Cached(() => this.#readEntries());
  readonly #services = new Cached(() => this.#readServices());
  readonly #details = new Map<string, Cached<ServiceDetail | undefined>>();

  /** Every reason that has ever counted something. */
  counters(): CounterRate[] {
    return this.#counters.get();
  }

  topology(): TopologyNow {
    return this.#topology.get();
  }

  sessions(): readonly SessionNow[] {
    return this.#sessions.get().rows;
  }

  services(): readonly ServiceNow[] {
    return this.#services.get();
  }

  /** Undefined: the kernel has no such Service. */
  service(name: string): ServiceDetail | undefined {
    let cached = this.#details.get(name);
    if (cached === undefined) {
      const [oldest] = this.#details.keys();
      if (this.#details.size >= MOST_DETAILS) this.#details.delete(oldest!);
      cached = new Cached(() => this.#readService(name));
      this.#details.set(name, cached);
    }
    return cached.get();
  }

  #readService(name: string): ServiceDetail | undefined {
    const frontends = this.#entries.get().filter((row) => row.name === name);
    if (frontends.length === 0) return undefined;
    using node = new NodeReader(this.place);
    const traffic = new Map<string, { sessions: number; active: number }>();
    for (const { namespace, service, backend, idleSeconds } of this.sessions()) {
      if (`${namespace}/${service}` !== name) continue;
      const one = traffic.get(backend) ?? { sessions: 0, active: 0 };
      traffic.set(backend, one);
      one.sessions++;
      if (idleSeconds < ACTIVE) one.active++;
    }
    const backends = readBackends(node, { names: [], service: name }).map((row) => ({
      ...row,
      ...traffic.get(`${row.address}:${row.backendPort}`) ?? { sessions: 0, active: 0 },
    }));
    return { name, frontends, backends };
  }

  #readCounters(at: number): CounterRate[] {
    using node = new NodeReader(this.place);
    const rows = readCounters(node, { names: [], all: true });
    const rates = this.#counterRates.next(
      at,
      new Map(rows.map(({ name, packets }) => [name, packets])),
    );
    return rows.filter(({ packets }) => packets > 0)
      .map((row) => ({ ...row, perSecond: rates.get(row.name) ?? null }));
  }

  #readTopology(at: number): TopologyNow {
    using node = new NodeReader(this.place);
    const topology = readTopology(node);
    // /proc/self/net is of the thread that opened the process's files: this one.
    const counters = parseDevices(Deno.readTextFileSync("/proc/self/net/dev"));
    const rates = (direction: "received" | "sent") =>
      this.#deviceRates[direction].next(
        at,
        new Map([...counters].map(([key, all]) => [key, all[direction]])),
      );
    const [received, sent] = [rates("received"), rates("sent")];
    const { pods, bridges, tunnels, uplinks } = topology;
    const devices: Record<string, DeviceRate> = {};
    for (const { name } of [...pods, ...bridges, ...tunnels, ...uplinks]) {
      const dropped = counters.get(name)?.dropped;
      if (dropped === undefined) continue;
      devices[name] = {
        received: received.get(name) ?? null,
        sent: sent.get(name) ?? null,
        dropped,
      };
    }
    return { topology, devices };
  }

  #readSessions(
    at: number,
  ): { rows: SessionNow[]; fresh: Set<string> | undefined; seconds: number } {
    using node = new NodeReader(this.place);
    const rows = readSessions(node, ALL);
    const before = this.#seen;
    const names = new Set(rows.map(({ name }) => name));
    this.#seen = { at, names };
    const seconds = before === undefined ? 0 : (at - before.at) / 1000;
    const fresh = before === undefined || seconds > 30
      ? undefined
      : new Set([...names].filter((name) => !before.names.has(name)));
    return { rows, fresh, seconds };
  }

  #readEntries(): ServiceRow[] {
    using node = new NodeReader(this.place);
    return readServices(node, ALL);
  }

  #readServices(): ServiceNow[] {
    const services = groupServices(this.#entries.get());
    const { rows, fresh, seconds } = this.#sessions.get();
    const opened = new Map<string, number>();
    for (const { name, namespace, service, idleSeconds } of rows) {
      const key = `${namespace}/${service}`;
      const one = services.get(key);
      if (one === undefined) continue;
      one.sessions++;
      if (idleSeconds < ACTIVE) one.active++;
      if (fresh?.has(name)) opened.set(key, (opened.get(key) ?? 0) + 1);
    }
    if (fresh !== undefined) {
      for (const one of services.values()) one.opened = (opened.get(one.name) ?? 0) / seconds;
    }
    return [...services.values()];
  }
}

/** One for each Service, of its many entries. */
export function groupServices(rows: readonly ServiceRow[]): Map<string, ServiceNow> {
  const found = new Map<string, ServiceNow>();
  for (const row of rows) {
    const { name, address, frontendPort, protocol, backends, localOnly } = row;
    const text = `${address}:${formatPort({ port: frontendPort, protocol })}`;
    const one = found.get(name);
    if (one === undefined) {
      found.set(name, {
        name,
        frontends: [text],
        backends,
        refuses: backends === 0 && !localOnly,
        sessions: 0,
        active: 0,
        opened: null,
      });
      continue;
    }
    one.frontends.push(text);
    one.backends = Math.max(one.backends, backends);
    one.refuses ||= backends === 0 && !localOnly;
  }
  return found;
}
