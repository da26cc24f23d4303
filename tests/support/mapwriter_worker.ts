/** Writes entries into a pinned `services` map on a thread of its own, again and again; then says "done". */
/// <reference lib="deno.worker" />
import { maps } from "../../src/bpf/layout.ts";
import { BpfMap } from "../../src/bpf/map.ts";
import { formatIpv4 } from "../../src/net/ipv4.ts";

interface Order {
  path: string;
  /** The first entry's address as a number; it is its id, too. */
  first: number;
  count: number;
  rounds: number;
}

self.onmessage = ({ data }: MessageEvent<Order>) => {
  const { key, value } = maps.services;
  using map = BpfMap.openPinned(data.path, key, value);
  const entries = Array.from({ length: data.count }, (_, i) => {
    const id = data.first + i;
    const run = { first: 0, count: 1, total_weight: 0 };
    const rest = { ...run, affinity_seconds: 0, flags: 0, table: 0 };
    return [{ addr: formatIpv4(id), port: 80, proto: 6, scope: 0 }, { id, ...rest }] as const;
  });
  for (let round = 0; round < data.rounds; round++) map.setBatch(entries);
  self.postMessage("done");
};
