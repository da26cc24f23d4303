/** Metrics of what the agent follows: the Kubernetes API, a resource each, and etcd. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { WatchState } from "../../model/agent_state.ts";

/** Adds them to registries; with manifests, where nothing is watched over a network, they have no samples. */
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
  gauge("pcnk_watch_connected", "1: a watch is open; 0: none is.", ({ connected }) => +connected);
  gauge("pcnk_watch_synced", "1: all objects were read once.", ({ synced }) => +synced);
  gauge(
    "pcnk_watch_last_heard_timestamp_seconds",
    "When an object or a bookmark came last, since the epoch.",
    ({ heardMs }) => timestamp(heardMs),
  );
  gauge(
    "pcnk_watch_version_timestamp_seconds",
    "Since when the resource version is the one that a watch would go on from, since the epoch.",
    ({ versionMs }) => timestamp(versionMs),
  );
  counter("pcnk_watch_events_total", "Objects that watches told of.", ({ events }) => events);
  counter(
    "pcnk_watch_lists_total",
    "Lists read to their end: the first, and one after each gap.",
    ({ lists }) => lists,
  );
  counter("pcnk_watch_errors_total", "Failed attempts to list or watch.", ({ errors }) => errors);
}

/** Seconds since the epoch of what was so many milliseconds ago. */
function timestamp(agoMs: number | undefined): number | undefined {
  return agoMs === undefined ? undefined : (Date.now() - agoMs) / 1000;
}
