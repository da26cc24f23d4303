/** Capacities of maps from the settings: several maps may follow one setting. */
import type { MapName } from "../../bpf/layout.ts";
import type { AgentConfig } from "../../config/schema.ts";
import { MAGLEV_SIZE, maglevElements } from "../../services/maglev.ts";

/** Flows that a table of so many sessions has room for: each has an entry for each direction. */
export function flowCapacity(sessions: number): number {
  return Math.floor(sessions / 2);
}

/** Entries of each map that has a setting. */
export function mapCapacities(sizes: AgentConfig["mapSizes"]): Partial<Record<MapName, number>> {
  const { services, backends, sessions, endpoints, sourceRanges, affinity } = sizes;
  const { maglev: tables, nodes } = sizes;
  return {
    services,
    backends,
    sessions,
    assured: sessions,
    endpoints,
    pod_devices: endpoints,
    affinity,
    affinity_proven: affinity,
    source_ranges: sourceRanges,
    maglev: tables * maglevElements(MAGLEV_SIZE),
    remotes: nodes,
    node_addrs: nodes,
    vteps: nodes,
    no_masquerade: nodes,
  };
}
