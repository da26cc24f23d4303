/**
 * Metrics for Prometheus: counters of the programs, entries of maps, durations of the agent's syncs. Names and units by
 * https://prometheus.io/docs/practices/naming/. What the kernel or another part holds is read at the scrape.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { CniCall } from "../../bpf/cni_calls.ts";
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { CNI_VERB, type MapName, maps as layout } from "../../bpf/layout.ts";
import { reasons } from "../../bpf/reasons.ts";
import { readExcess } from "../../bpf/shares.ts";
import { MAP_TYPE } from "../../bpf/syscall.ts";
import type { WatchState } from "../../model/agent_state.ts";
import { TABLE } from "../../upkeep/table.ts";
import type { ServiceSync } from "../services/reconciler.ts";
import type { Check } from "./health.ts";

interface MetricsOptions {
  maps: DataPlaneMaps;
  checks: () => readonly Check[];
  /** Calls of the CNI plugin since the last collection. */
  cniCalls: () => readonly CniCall[];
  /** The pod at an address of this node; undefined: its name is not known. */
  nameOf: (address: string) => string | undefined;
  watches: () => readonly WatchState[];
  build: { version: string; commit: string };
  /** Milliseconds since the epoch. */
  startedAt: number;
}

/** Seconds: from one entry to a full sync of a quarter of a million. */
const SYNC_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Seconds: some hundredths for a pod that starts alone, more for fifty at once. */
const CNI_BUCKETS = [0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export class Metrics {
  readonly #registry = new Registry();
  readonly #options: MetricsOptions;
  readonly #syncs = this.#histogram(
    "pcnk_reconcile_duration_seconds",
    "Duration of a sync of the maps: of all entries (full), or of those of changed objects (update).",
    SYNC_BUCKETS,
    "kind",
  );
  readonly #latency = this.#histogram(
    "pcnk_change_latency_seconds",
    "Time from the arrival of a changed object until the maps hold it.",
    SYNC_BUCKETS,
  );
  readonly #failures = this.#counter(
    "pcnk_reconcile_failures_total",
    "Syncs that failed; each is repeated.",
  );
  readonly #cniDurations = this.#histogram(
    "pcnk_cni_duration_seconds",
    "Duration of a call of the CNI plugin, from the start of its process to its result.",
    CNI_BUCKETS,
    "verb",
  );
  readonly #cniFailures = this.#counter(
    "pcnk_cni_failures_total",
    "Calls of the CNI plugin that returned an error.",
    "verb",
  );
  readonly #mended = this.#counter(
    "pcnk_objects_mended_total",
    "Objects of the node that another program had broken and the agent mended, by their row in docs/repair.md.",
    "row",
  );

  constructor(options: MetricsOptions) {
    this.#options = options;
    for (const { name: row } of TABLE) this.#mended.inc({ row }, 0);
    for (const verb of Object.keys(CNI_VERB)) {
      this.#cniDurations.zero({ verb });
      this.#cniFailures.inc({ verb }, 0);
    }
    this.#addPackets();
    this.#addShares();
    this.#addMaps();
    this.#addWatches();
    this.#addAgent();
  }

  synced({ full, changed, seconds, latency }: ServiceSync): void {
    if (!changed && !full) return;
    this.#syncs.observe({ kind: full ? "full" : "update" }, seconds);
    if (latency !== undefined) this.#latency.observe(latency);
  }

  syncFailed(): void {
    this.#failures.inc();
  }

  objectMended(row: string): void {
    this.#mended.inc({ row });
  }

  /** In Prometheus' text format. */
  async collect(): Promise<{ text: string; type: string }> {
    for (const { verb, seconds, failed } of this.#options.cniCalls()) {
      this.#cniDurations.observe({ verb }, seconds);
      if (failed) this.#cniFailures.inc({ verb });
    }
    return { text: await this.#registry.metrics(), type: this.#registry.contentType };
  }

  #histogram(name: string, help: string, buckets: number[], ...labelNames: string[]) {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.#registry] });
  }

  #counter(name: string, help: string, ...labelNames: string[]) {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  /** A metric whose samples are read at the scrape: their labels, and a value; undefined: no sample. */
  #read(
    Kind: typeof Gauge | typeof Counter,
    name: string,
    help: string,
    samples: () => (readonly [labels: Record<string, string>, value: number | undefined])[],
    ...labelNames: string[]
  ) {
    const registers = [this.#registry];
    const collect = () => {
      metric.reset();
      for (const [labels, value] of samples()) if (value !== undefined) metric.inc(labels, value);
    };
    const metric = new Kind({ name, help, labelNames, registers, collect });
  }

  #addPackets(): void {
    const { counters } = this.#options.maps;
    const sum = (index: number, what: "packets" | "bytes") =>
      (counters.get(index) ?? []).reduce((total, cpu) => total + Number(cpu[what]), 0);
    const indexed = reasons.map(({ name, kind }, index) => ({ name, kind, index }));
    const packets = indexed.filter(({ kind }) => kind !== "none" && kind !== "event");
    const events = indexed.filter(({ kind }) => kind === "event");
    const samples = (what: "packets" | "bytes") => () =>
      packets.map(({ name, kind, index }) =>
        [{ reason: name, result: kind }, sum(index, what)] as const
      );
    const labels = ["reason", "result"];
    const bytesHelp = "Bytes of frames by reason and result.";
    this.#read(
      Counter,
      "pcnk_packets_total",
      "Packets by reason and result.",
      samples("packets"),
      ...labels,
    );
    this.#read(Counter, "pcnk_packet_bytes_total", bytesHelp, samples("bytes"), ...labels);
    const eventSamples = () =>
      events.map(({ name, index }) =>
        [{ event: name.replace(/^event_/, "") }, sum(index, "packets")] as const
      );
    const eventsHelp = "Events of the programs, such as a new session.";
    this.#read(Counter, "pcnk_events_total", eventsHelp, eventSamples, "event");
  }

  #addShares(): void {
    const { maps, nameOf } = this.#options;
    const samples = () => {
      const sums = new Map<string, readonly [{ share: string; source: string }, number]>();
      for (const { address, kind, times } of readExcess(maps)) {
        const source = address === undefined ? "outside" : nameOf(address) ?? address;
        const share = kind.toLowerCase();
        const before = sums.get(`${share} ${source}`)?.[1] ?? 0;
        sums.set(`${share} ${source}`, [{ share, source }, before + Number(times)]);
      }
      return [...sums.values()];
    };
    const help =
      "What a pod, or addresses outside, wanted beyond its share and lost, by the share.";
    this.#read(Counter, "pcnk_share_exceeded_total", help, samples, "share", "source");
  }

  #addMaps(): void {
    const { maps } = this.#options;
    const counted = (Object.keys(layout) as MapName[]).filter((name) => {
      const { type } = layout[name];
      return type !== MAP_TYPE.ARRAY && type !== MAP_TYPE.PERCPU_ARRAY;
    });
    const add = (name: string, help: string, value: (map: MapName) => number) =>
      this.#read(Gauge, name, help, () => counted.map((map) => [{ map }, value(map)]), "map");
    add("pcnk_map_entries", "Entries of a map.", (name) => maps[name].count());
    add("pcnk_map_capacity", "Capacity of a map, in entries.", (name) => maps[name].maxEntries);
  }

  /** With manifests, where nothing is watched over a network, they have no samples. */
  #addWatches(): void {
    const { watches } = this.#options;
    const add = (
      Kind: typeof Gauge | typeof Counter,
      name: string,
      help: string,
      value: (state: WatchState) => number | undefined,
    ) => {
      const samples = () =>
        watches().map((state) => [{ resource: state.resource }, value(state)] as const);
      this.#read(Kind, name, help, samples, "resource");
    };
    const connected = "Whether a watch is open (1) or not (0).";
    const synced = "Whether all objects were listed once (1) or not (0).";
    const heard = "Unix time of the last object or bookmark.";
    const version =
      "Unix time since which the resource version has been the one that a watch resumes from.";
    const lists = "Completed lists: the first, and one after each gap.";
    add(Gauge, "pcnk_watch_connected", connected, (watch) => +watch.connected);
    add(Gauge, "pcnk_watch_synced", synced, (watch) => +watch.synced);
    add(
      Gauge,
      "pcnk_watch_last_heard_timestamp_seconds",
      heard,
      ({ heardMs }) => unixTime(heardMs),
    );
    add(
      Gauge,
      "pcnk_watch_version_timestamp_seconds",
      version,
      ({ versionMs }) => unixTime(versionMs),
    );
    add(Counter, "pcnk_watch_events_total", "Events received by watches.", ({ events }) => events);
    add(Counter, "pcnk_watch_lists_total", lists, (watch) => watch.lists);
    add(
      Counter,
      "pcnk_watch_errors_total",
      "Failed attempts to list or watch.",
      ({ errors }) => errors,
    );
  }

  #addAgent(): void {
    const { build: { version, commit }, checks, startedAt } = this.#options;
    const add = (
      Kind: typeof Gauge | typeof Counter,
      name: string,
      help: string,
      value: () => number,
    ) => this.#read(Kind, name, help, () => [[{}, value()]]);
    const info = () => [[{ version, commit }, 1] as const];
    const buildHelp = "Version and commit of the agent; always 1.";
    this.#read(Gauge, "pcnk_build_info", buildHelp, info, "version", "commit");
    const health = () =>
      checks().map(({ name, failure }) => [{ check: name }, failure ? 0 : 1] as const);
    const healthHelp = "Checks of /healthz: 1 passed, 0 failed.";
    this.#read(Gauge, "pcnk_health", healthHelp, health, "check");
    const start = "Unix time of the agent's start.";
    add(Gauge, "process_start_time_seconds", start, () => startedAt / 1000);
    const memory = "Resident memory of the agent.";
    add(Gauge, "process_resident_memory_bytes", memory, () => Deno.memoryUsage().rss);
    const cpu = "CPU time of the agent, user and system.";
    add(Counter, "process_cpu_seconds_total", cpu, cpuSeconds);
  }
}

/** Of what was so many milliseconds ago. */
function unixTime(agoMs: number | undefined): number | undefined {
  return agoMs === undefined ? undefined : (Date.now() - agoMs) / 1000;
}

/** proc(5): fields 14 and 15 of /proc/self/stat, in hundredths of a second on every architecture of Linux. */
function cpuSeconds(): number {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // from field 3 on; a name may hold blanks
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
