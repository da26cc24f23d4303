import { deepEqual, match } from "node:assert/strict";
import type { WatchState } from "../model/agent_state.ts";
import { healthFindings, sourceFindings } from "./status_agent.ts";

const watch = (resource: string, more: Partial<WatchState> = {}): WatchState => ({
  resource,
  connected: true,
  synced: true,
  heardMs: 3000,
  versionMs: 60_000,
  events: 1,
  lists: 1,
  errors: 0,
  ...more,
});
const state = (...watches: WatchState[]) => ({
  logLevel: "info",
  source: { server: "https://192.0.2.1:6443" },
  etcd: ["http://192.0.2.1:30901"],
  watches,
});

Deno.test("sourceFindings() tells that API server and etcd are followed", () => {
  const findings = sourceFindings(state(watch("services"), watch("nodes"), watch("etcd")));
  deepEqual(findings, [
    {
      part: "api",
      health: "ok",
      text: "https://192.0.2.1:6443: follows services, nodes; each heard in the last 3s",
    },
    {
      part: "etcd",
      health: "ok",
      text: "http://192.0.2.1:30901: settings followed, last event 3s ago",
    },
  ]);
});

Deno.test("sourceFindings() names what is not followed, since when, why, and a next step", () => {
  const away = { connected: false, reason: "cannot be reached: connection refused" };
  const [api, etcd] = sourceFindings(
    state(watch("services", { ...away, heardMs: 200_000 }), watch("nodes"), watch("etcd", away)),
  );
  deepEqual([api!.health, etcd!.health], ["warn", "warn"]);
  match(api!.text, /: services not followed, last heard 3m ago: cannot be reached: /);
  match(api!.next!, /^curl -k https:\/\/192\.0\.2\.1:6443\/livez/);
  match(etcd!.text, /refused; its last values stay in effect$/);
  match(etcd!.next!, /etcdctl --endpoints http:\/\/192\.0\.2\.1:30901 endpoint health/);
  const [fresh] = sourceFindings(state(watch("services", { synced: false })));
  deepEqual([fresh!.health, /services being read/.test(fresh!.text)], ["note", true]);
});

Deno.test("healthFindings() leaves out what a finding of the source covers", () => {
  const answer = "[+]maps ok\n[-]source failed: for 11 s: away\n[-]cni failed: no podCIDR\n";
  const bad = sourceFindings(state(watch("nodes", { reason: "away" })));
  deepEqual(healthFindings(answer, bad).map(({ text }) => text), ["cni: no podCIDR"]);
  deepEqual(healthFindings(answer, []).map(({ text }) => text), [
    "source: for 11 s: away",
    "cni: no podCIDR",
  ]);
});
