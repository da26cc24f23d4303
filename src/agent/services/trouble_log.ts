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

  /** Services that are short of room as of the last call of `shortages()`. */
  get short(): ReadonlySet<string> {
    return new Set([...this.#short.values()].flatMap((services) => [...services]));
  }

  /** Takes all shortages of a sync. */
  shortages(shortages: readonly Shortage[]) {
    const before = this.short;
    const now = groupBy(shortages, ({ map }) => map);
    for (const [map, group] of now) this.#reportMap(map, group);
    for (const map of this.#reported.keys()) if (!now.has(map)) this.#reported.delete(map);
    this.#short = new Map(
      [...now].map(([map, group]) => [map, new Set(group.map(({ service }) => service))]),
    );
    const short = this.short;
    this.#reportRoom([...before].filter((service) => !short.has(service)));
  }

  /** While they are few a line each; then a line for all, and another when they are twice as many. */
  #reportMap(map: string, group: readonly Shortage[]) {
    const known = this.#short.get(map);
    const first = new Map(group.toReversed().map((one) => [one.service, one]));
    const fresh = [...first.values()].filter(({ service }) => !known?.has(service)).reverse();
    if (first.size <= severalServices) {
      for (const { service, message } of fresh) {
        this.#log.error({ event: "NoRoom", object: `Service ${service}`, map }, message);
      }
    } else if (first.size >= 2 * (this.#reported.get(map) ?? 0)) {
      const { service, message } = group[0]!;
      const text = `${first.size} Services lack room, such as ${service}: ${message}`;
      this.#log.error({ event: "NoRoom", map, services: first.size }, text);
    } else return;
    this.#reported.set(map, first.size);
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
