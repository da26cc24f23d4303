/**
 * Metrics for Prometheus: counters of the programs, entries of maps, durations of the agent's syncs. Names and units by
 * https://prometheus.io/docs/practices/naming/. What is in the kernel is read at the scrape.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { CNI_VERBS, type CniCall } from "../../bpf/cni_calls.ts";
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { type MapName, maps as layout } from "../../bpf/layout.ts";
import { reasons } from "../../bpf/reasons.ts";
import { MAP_TYPE } from "../../bpf/syscall.ts";
import type { WatchState } from "../../model/agent_state.ts";
import type { Check } from "./health.ts";
import { addWatches } from "./metrics_watch.ts";
import type { ServiceSync } from "../services/reconciler.ts";

interface MetricsOptions {
  maps: DataPlaneMaps;
  checks: () => readonly Check[];
  /** Calls of the CNI plugin since the last collection. */
  cniCalls: () => readonly CniCall[];
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
  readonly #syncs: Histogram<"kind">;
  readonly #latency: Histogram;
  readonly #failures: Counter;
  readonly #cniDurations: Histogram<"verb">;
  readonly #cniFailures: Counter<"verb">;
  readonly #options: MetricsOptions;

  constructor(options: MetricsOptions) {
    this.#options = options;
    const registers = [this.#registry];
    this.#syncs = new Histogram({
      name: "pcnk_reconcile_duration_seconds",
      help:
        "Duration of a sync of the maps: of all entries (full), or of those of changed objects (update).",
      labelNames: ["kind"],
      buckets: SYNC_BUCKETS,
      registers,
    });
    this.#latency = new Histogram({
      name: "pcnk_change_latency_seconds",
      help: "Time from the arrival of a changed object until the maps hold it.",
      buckets: SYNC_BUCKETS,
      registers,
    });
    this.#failures = new Counter({
      name: "pcnk_reconcile_failures_total",
      help: "Syncs that failed; each is repeated.",
      registers,
    });
    this.#cniDurations = new Histogram({
      name: "pcnk_cni_duration_seconds",
      help: "Duration of a call of the CNI plugin, from the start of its process to its result.",
      labelNames: ["verb"],
      buckets: CNI_BUCKETS,
      registers,
    });
    this.#cniFailures = new Counter({
      name: "pcnk_cni_failures_total",
      help: "Calls of the CNI plugin that returned an error.",
      labelNames: ["verb"],
      registers,
    });
    for (const verb of CNI_VERBS) {
      this.#cniDurations.zero({ verb });
      this.#cniFailures.inc({ verb }, 0);
    }
    this.#addPackets(registers);
    this.#addMaps(registers);
    this.#addAgent(registers);
    addWatches(registers, options.watches);
  }

  synced({ full, changed, seconds, latency }: ServiceSync): void {
    if (!changed && !full) return;
    this.#syncs.observe({ kind: full ? "full" : "update" }, seconds);
    if (latency !== undefined) this.#latency.observe(latency);
  }

  syncFailed(): void {
    this.#failures.inc();
  }

  /** The calls of the CNI plugin since the last collection. */
  #takeCniCalls(): void {
    for (const { verb, seconds, failed } of this.#options.cniCalls()) {
      this.#cniDurations.observe({ verb }, seconds);
      if (failed) this.#cniFailures.inc({ verb });
    }
  }

  /** In Prometheus' text format. */
  async collect(): Promise<{ text: string; type: string }> {
    this.#takeCniCalls();
    return { text: await this.#registry.metrics(), type: this.#registry.contentType };
  }

  #addPackets(registers: Registry[]): void {
    const { maps } = this.#options;
    const sum = (index: number) =>
      (maps.counters.get(index) ?? []).reduce(
        (total, { packets, bytes }) => ({
          packets: total.packets + Number(packets),
          bytes: total.bytes + Number(bytes),
        }),
        { packets: 0, bytes: 0 },
      );
    const add = (
      name: string,
      help: string,
      what: "packets" | "bytes",
      wanted: (kind: string) => boolean,
    ) =>
      new Counter({
        name,
        help,
        labelNames: ["reason", "result"],
        registers,
        collect() {
          this.reset();
          reasons.forEach(({ name: reason, kind }, index) => {
            if (kind !== "none" && wanted(kind)) {
              this.inc({ reason, result: kind }, sum(index)[what]);
            }
          });
        },
      });
    const isPacket = (kind: string) => kind !== "event";
    add("pcnk_packets_total", "Packets by reason and result.", "packets", isPacket);
    add("pcnk_packet_bytes_total", "Bytes of frames by reason and result.", "bytes", isPacket);
    new Counter({
      name: "pcnk_events_total",
      help: "Events of the programs, such as a new session.",
      labelNames: ["event"],
      registers,
      collect() {
        this.reset();
        reasons.forEach(({ name, kind }, index) => {
          if (kind === "event") {
            this.inc({ event: name.replace(/^event_/, "") }, sum(index).packets);
          }
        });
      },
    });
  }

  #addMaps(registers: Registry[]): void {
    const { maps } = this.#options;
    const counted = (Object.keys(layout) as MapName[]).filter((name) => {
      const { type } = layout[name];
      return type !== MAP_TYPE.ARRAY && type !== MAP_TYPE.PERCPU_ARRAY;
    });
    const add = (name: string, help: string, value: (map: MapName) => number) =>
      new Gauge({
        name,
        help,
        labelNames: ["map"],
        registers,
        collect() {
          for (const map of counted) this.set({ map }, value(map));
        },
      });
    add("pcnk_map_entries", "Entries of a map.", (name) => maps[name].count());
    add("pcnk_map_capacity", "Capacity of a map, in entries.", (name) => maps[name].maxEntries);
  }

  #addAgent(registers: Registry[]): void {
    const { build, checks, startedAt } = this.#options;
    new Gauge({
      name: "pcnk_build_info",
      help: "Version and commit of the agent; always 1.",
      labelNames: ["version", "commit"],
      registers,
    }).set({ version: build.version, commit: build.commit }, 1);
    new Gauge({
      name: "pcnk_health",
      help: "Checks of /healthz: 1 passed, 0 failed.",
      labelNames: ["check"],
      registers,
      collect() {
        for (const { name, failure } of checks()) this.set({ check: name }, failure ? 0 : 1);
      },
    });
    new Gauge({
      name: "process_start_time_seconds",
      help: "Unix time of the agent's start.",
      registers,
    }).set(startedAt / 1000);
    new Gauge({
      name: "process_resident_memory_bytes",
      help: "Resident memory of the agent.",
      registers,
      collect() {
        this.set(Deno.memoryUsage().rss);
      },
    });
    new Counter({
      name: "process_cpu_seconds_total",
      help: "CPU time of the agent, user and system.",
      registers,
      collect() {
        this.reset();
        this.inc(cpuSeconds());
      },
    });
  }
}

/** proc(5): fields 14 and 15 of /proc/self/stat, in hundredths of a second on every architecture of Linux. */
function cpuSeconds(): number {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // from field 3 on; a name may hold blanks
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
