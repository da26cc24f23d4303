/** `counters` and `maps`: what became of packets, by reason, and how full the maps are. */
import { type MapName, maps as layout } from "../bpf/layout.ts";
import { MAP_TYPE } from "../bpf/syscall.ts";
import { type ReasonKind, reasons } from "../bpf/reasons.ts";
import type { NodeReader } from "./node.ts";
import type { Filter, Resource, Row } from "./resource.ts";

/** Packets of one reason since the data plane was installed. */
export interface CounterRow extends Row {
  kind: Exclude<ReasonKind, "none">;
  packets: number;
  /** Of events always 0. */
  bytes: number;
  meaning: string;
}

export function readCounters(node: NodeReader, filter: Filter): CounterRow[] {
  const rows: CounterRow[] = [];
  reasons.forEach(({ name, kind, help }, index) => {
    if (kind === "none" || (filter.names.length > 0 && !filter.names.includes(name))) return;
    let packets = 0n, bytes = 0n;
    for (const cpu of node.maps.counters.get(index) ?? []) {
      packets += cpu.packets;
      bytes += cpu.bytes;
    }
    if (packets === 0n && !filter.all && filter.names.length === 0) return;
    rows.push({ name, kind, packets: Number(packets), bytes: Number(bytes), meaning: help });
  });
  return rows;
}

const count = new Intl.NumberFormat("en");

/** `pcnk get counters` */
export const counters: Resource<CounterRow> = {
  name: "counters",
  aliases: ["counter", "reasons"],
  help: "packets by reason (--all: also reasons without packets)",
  read: readCounters,
  columns: [
    { title: "REASON", value: (row) => row.name },
    { title: "KIND", value: (row) => row.kind },
    { title: "PACKETS", value: ({ packets }) => count.format(packets) },
    { title: "BYTES", value: ({ kind, bytes }) => kind === "event" ? "" : count.format(bytes) },
    { title: "MEANING", value: (row) => row.meaning },
  ],
};

/** How full a map is. */
export interface MapRow extends Row {
  entries: number;
  capacity: number;
  /** What happens when it is full: the oldest entry makes room, or the new one is refused. */
  whenFull: "oldest goes" | "refuses" | "never";
}

/** All maps but arrays, whose entries have no count. */
export function readMaps(node: NodeReader, filter: Filter): MapRow[] {
  const rows: MapRow[] = [];
  for (const name of Object.keys(layout) as MapName[]) {
    const { type } = layout[name];
    const isArray = type === MAP_TYPE.PERCPU_ARRAY || type === MAP_TYPE.ARRAY;
    if (isArray && name !== "backends") continue;
    if (filter.names.length > 0 && !filter.names.includes(name)) continue;
    const map = node.maps[name];
    const entries = name === "backends" ? usedBackends(node) : map.count();
    const whenFull = type === MAP_TYPE.LRU_HASH ? "oldest goes" : "refuses";
    rows.push({ name, entries, capacity: map.maxEntries, whenFull });
  }
  return rows;
}

/** Elements that an entry of `services` points to. */
function usedBackends({ maps }: NodeReader): number {
  const runs = new Map(maps.services.entries().map(([, { first, count }]) => [first, count]));
  return [...runs.values()].reduce((sum, count) => sum + count, 0);
}

/** `pcnk get maps` */
export const maps: Resource<MapRow> = {
  name: "maps",
  aliases: ["map"],
  help: "entries and capacity of the maps",
  read: readMaps,
  columns: [
    { title: "MAP", value: (row) => row.name },
    { title: "ENTRIES", value: ({ entries }) => count.format(entries) },
    { title: "CAPACITY", value: ({ capacity }) => count.format(capacity) },
    {
      title: "USED",
      value: ({ entries, capacity }) => `${((100 * entries) / capacity).toFixed(1)} %`,
    },
    { title: "WHEN FULL", value: (row) => row.whenFull },
  ],
};
