/** Metrics of watches: of each resource of the Kubernetes API, and of etcd. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { WatchState } from "../../model/agent_state.ts";

/** With manifests, where nothing is watched over a network, they have no samples. */
export function addWatches(registers: Registry[], watches: () => readonly WatchState[]): void {
  const gauge = (name: string, help: string, value: (state: WatchState) => number | undefined) =>
    new Gauge({
      name,
      help,
      labelNames: ["resource"],
      registers,
      collect() {
        this.reset();
        for (const state of watches()) {
          const now = value(state);
          if (now !== undefined) this.set({ resource: state.resource }, now);
        }
      },
    });
  const counter = (name: string, help: string, value: (state: WatchState) => number) =>
    new Counter({
      name,
      help,
      labelNames: ["resource"],
      registers,
      collect() {
        this.reset();
        for (const state of watches()) this.inc({ resource: state.resource }, value(state));
      },
    });
  gauge(
    "pcnk_watch_connected",
    "Whether a watch is open (1) or not (0).",
    ({ connected }) => +connected,
  );
  gauge(
    "pcnk_watch_synced",
    "Whether all objects were listed once (1) or not (0).",
    ({ synced }) => +synced,
  );
  gauge(
    "pcnk_watch_last_heard_timestamp_seconds",
    "Unix time of the last object or bookmark.",
    ({ heardMs }) => timestamp(heardMs),
  );
  gauge(
    "pcnk_watch_version_timestamp_seconds",
    "Unix time since which the resource version has been the one that a watch resumes from.",
    ({ versionMs }) => timestamp(versionMs),
  );
  counter("pcnk_watch_events_total", "Events received by watches.", ({ events }) => events);
  counter(
    "pcnk_watch_lists_total",
    "Completed lists: the first, and one after each gap.",
    ({ lists }) => lists,
  );
  counter("pcnk_watch_errors_total", "Failed attempts to list or watch.", ({ errors }) => errors);
}

/** Unix time of what was so many milliseconds ago. */
function timestamp(agoMs: number | undefined): number | undefined {
  return agoMs === undefined ? undefined : (Date.now() - agoMs) / 1000;
}
