/**
 * The schema of every pinned map: the version of its layout, and what an agent does with the content of a map of a former
 * version. Each map's version is kept in the kernel beside it (map_versions.ts). docs/upgrade.md says how to change a struct.
 */

/**
 * What becomes of the content of a map of a former version:
 * - `rebuilt`: the agent fills a new map from cluster objects and the node's devices; the old programs serve until then
 * - `converted`: the entries are carried over by the codec of their layout (former_layouts.ts)
 * - `dropped`: a new map starts empty
 */
type Change = "rebuilt" | "converted" | "dropped";

/** Of one map. */
interface Schema {
  /** From 1, which release 0.1.0 wrote everywhere. Another layout, or another meaning of the same, adds one. */
  readonly version: number;
  readonly change: Change;
}

const rebuilt = (version: number): Schema => ({ version, change: "rebuilt" });
const converted = (version: number): Schema => ({ version, change: "converted" });
const dropped = (version: number): Schema => ({ version, change: "dropped" });

/** Every pinned map, but for the one that keeps the versions. */
export const SCHEMAS = {
  services: rebuilt(1),
  backends: rebuilt(1),
  maglev: rebuilt(1),
  source_ranges: rebuilt(1),
  session_limits: rebuilt(2), // 2: `capacity`, `assured`
  remotes: rebuilt(1),
  uplinks: rebuilt(1),
  node_addrs: rebuilt(1),
  no_masquerade: rebuilt(1),
  names: rebuilt(1),
  hostlb_config: rebuilt(1),

  sessions: converted(3), // 2: `created`; 3: what TCP segments are compared with
  assured: converted(2), // the same struct as `sessions`
  config: converted(3), // 2: `pods_ifindex`; 3: `pods_mtu`
  vteps: converted(2), // 2: which inner sources are that node's
  endpoints: converted(1),
  pod_devices: converted(2), // 2: `host_mac`
  host_ports: converted(1),
  rates: converted(1),
  affinity: converted(1),
  affinity_proven: converted(1),
  counters: converted(1),
  hostlb_connections: converted(1),
  hostlb_counters: converted(1),

  fragments: dropped(4), // 2: an array, with what came of each datagram; 3: a share for each pod; 4: what is in `fragment_loads`
  fragment_loads: dropped(1),
  held_fragments: dropped(2), // 2: numbers of sources as of `fragments`
  held_scratch: dropped(1),
  sources: dropped(1), // the agent counts anew
  source_flows: dropped(1),
  shares: dropped(1),
  scarce_ports: dropped(1),
  monitor: dropped(1),
  monitor_ends: dropped(1),
  monitor_budget: dropped(2), // 2: `round`
  monitor_shares: dropped(1),
  monitor_events: dropped(1),
  cni_calls: dropped(1),
  // Local to sockets, which cannot be listed. Without it an unconnected UDP socket sees its backends' addresses for a datagram.
  hostlb_sockets: dropped(1),
} satisfies Record<string, Schema>;

/** Name of a pinned map. */
export type PinnedMap = keyof typeof SCHEMAS;

/** The schema of a map by its name; undefined for maps that are not pinned, such as an object's constants. */
export function schemaOf(name: string): Schema | undefined {
  return Object.hasOwn(SCHEMAS, name) ? SCHEMAS[name as PinnedMap] : undefined;
}

/** Capacity that this version's programs need of a pinned map that has no setting; a former release made it smaller. */
export function leastEntries(name: string): number {
  return name === "counters" ? 256 : 0;
}

/** A pinned map whose version this executable does not use. */
export class SchemaError extends Error {
  override readonly name = "SchemaError";

  /** @param found version of the map that is pinned at `pin` */
  constructor(readonly pin: string, readonly found: number, readonly known: number) {
    super(
      found > known
        ? `${pin} is of schema ${found}, made by a newer pcnk; this one knows ${known}: run the newer pcnk again, ` +
          "or drain the node and reboot it, which removes pinned maps"
        : `${pin} is of schema ${found}, made by an older pcnk; this one uses ${known}: ` +
          "start its agent on this node, which converts the map",
    );
  }
}
