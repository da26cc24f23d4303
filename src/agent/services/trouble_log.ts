/** Log lines about Services that went short of room, or have an issue: one for each, or one for all when they are many. */
import type { ServiceIssue } from "../../services/frontends.ts";
import type { Log } from "../log.ts";

/** Of a Service's entry or backends that found no room in a map. */
interface Shortage {
  service: string;
  map: string;
  message: string;
}

/** More Services at a time are one line. */
const severalServices = 3;
const severalIssues = 20;

export class TroubleLog {
  readonly #log: Log;
  /** Services that are short of room in a map, by map. */
  #short = new Map<string, Set<string>>();
  /** How many of them the last line was about, by map. */
  readonly #reported = new Map<string, number>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Whether any Service is short of room. */
  get isShort(): boolean {
    return this.#short.size > 0;
  }

  /** Services that are short of room as of the last call of `shortages()`. */
  get short(): ReadonlySet<string> {
    return new Set([...this.#short.values()].flatMap((services) => [...services]));
  }

  /** Takes the shortages of a sync. @param recomputed the Services that the sync was about */
  shortages(shortages: readonly Shortage[], recomputed: ReadonlySet<string>) {
    if (shortages.length === 0 && !this.#anyShort(recomputed)) return;
    const before = this.#short;
    this.#short = new Map();
    for (const { map, service } of shortages) this.#note(map, service);
    for (const [map, services] of before) {
      for (const service of services) if (!recomputed.has(service)) this.#note(map, service);
    }
    for (const [map, group] of groupBy(shortages, ({ map }) => map)) {
      this.#reportMap(map, group, before.get(map));
    }
    for (const map of this.#reported.keys()) if (!this.#short.has(map)) this.#reported.delete(map);
    const now = this.short;
    const had = new Set([...before.values()].flatMap((services) => [...services]));
    this.#reportRoom([...had].filter((service) => !now.has(service)));
  }

  #anyShort(services: ReadonlySet<string>): boolean {
    if (this.#short.size === 0) return false;
    for (const service of services) {
      for (const short of this.#short.values()) if (short.has(service)) return true;
    }
    return false;
  }

  #note(map: string, service: string) {
    const services = this.#short.get(map);
    if (services === undefined) this.#short.set(map, new Set([service]));
    else services.add(service);
  }

  /** While they are few a line each; then a line for all, and another when they are twice as many. */
  #reportMap(map: string, group: readonly Shortage[], known: ReadonlySet<string> | undefined) {
    const { size } = this.#short.get(map)!;
    if (size <= severalServices) {
      const first = new Map(group.toReversed().map((one) => [one.service, one]));
      for (const { service, message } of [...first.values()].reverse()) {
        if (known?.has(service)) continue;
        this.#log.error({ event: "NoRoom", object: `Service ${service}`, map }, message);
      }
    } else if (size >= 2 * (this.#reported.get(map) ?? 0)) {
      const { service, message } = group[0]!;
      const text = `${size} Services lack room, such as ${service}: ${message}`;
      this.#log.error({ event: "NoRoom", map, services: size }, text);
    } else return;
    this.#reported.set(map, size);
  }

  #reportRoom(services: readonly string[]) {
    if (services.length > severalServices) {
      return this.#log.info({ services: services.length }, "there is room again");
    }
    for (const service of services) {
      this.#log.info({ object: `Service ${service}` }, "there is room again");
    }
  }

  /** Takes the issues that a sync found. */
  issues(issues: readonly ServiceIssue[]) {
    for (const [reason, group] of groupBy(issues, ({ reason }) => reason)) {
      if (group.length > severalIssues) {
        const { service, message } = group[0]!;
        const text = `${group.length} times, such as Service ${service}: ${message}`;
        this.#log.warn({ event: reason, count: group.length }, text);
        continue;
      }
      for (const { service, message } of group) {
        this.#log.warn({ event: reason, object: `Service ${service}` }, message);
      }
    }
  }
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
