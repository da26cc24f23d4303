import assert from "node:assert/strict";
import { type ClusterState, emptyState } from "../model/state.ts";
import { DesiredState } from "./desired.ts";
import { remove, service, show, slice, syncGroups, upsert } from "./test_support.ts";

const web = service("web");
const api = service("api", { clusterIPs: ["10.96.0.2"] });

function loaded(...objects: Parameters<typeof upsert>[0][]) {
  const desired = new DesiredState("node1");
  for (const object of objects) desired.apply(upsert(object));
  return desired;
}

/** Services and issues of a round that is then settled. */
function round(desired: DesiredState) {
  const { groups, removed, issues } = syncGroups(desired);
  const result = {
    services: groups.map((group) => group.service).sort(),
    removed: [...removed.keys()].sort(),
    issues: issues.map((issue) => `${issue.service} ${issue.reason}`),
  };
  desired.commit();
  return result;
}

Deno.test("DesiredState works out only the Services that a change touches", () => {
  const desired = loaded(web, api, slice("web", ["10.1.0.1"]));
  assert.deepEqual(round(desired).services, ["default/api", "default/web"]);
  desired.apply(upsert(slice("web", ["10.1.0.2"])));
  assert.deepEqual(round(desired), { services: ["default/web"], removed: [], issues: [] });
});

Deno.test("DesiredState names the keys that a deleted or changed Service leaves", () => {
  const desired = loaded(web, api);
  round(desired);
  desired.apply(remove(web));
  desired.apply(upsert({ ...api, ports: [] }));
  assert.deepEqual(round(desired).removed, [
    "10.96.0.1:0/0/0",
    "10.96.0.1:80/6/0",
    "10.96.0.2:80/6/0",
  ]);
});

Deno.test("DesiredState uses Endpoints only for a Service without slices", () => {
  const endpoints = {
    kind: "Endpoints" as const,
    namespace: "default",
    name: "web",
    subsets: [slice("web", ["10.2.0.1"])],
  };
  const desired = loaded(web, endpoints);
  const list = () => show(syncGroups(desired).groups[0]!.frontends[0]!.backends);
  assert.deepEqual(list(), ["10.2.0.1:8080"]);
  desired.apply(upsert(slice("web", ["10.1.0.1"])));
  assert.deepEqual(list(), ["10.1.0.1:8080"]);
  desired.apply(remove(slice("web", [])));
  assert.deepEqual(list(), ["10.2.0.1:8080"]);
});

Deno.test("DesiredState gives a contested address to the older Service, then to the first by name", () => {
  const old = service("zoo", { createdAt: 1 });
  const desired = loaded(web, old, service("abc", { createdAt: 2 }));
  assert.deepEqual(round(desired).issues, [
    "default/web AddressConflict",
    "default/abc AddressConflict",
  ]);
  const owner = () =>
    desiredFrontends(desired.state, "node1").map(({ portId }) => portId.service)[0];
  assert.equal(owner(), "default/zoo");
  desired.apply(remove(old));
  const next = round(desired);
  assert.equal(owner(), "default/abc");
  assert.deepEqual(next.removed, [], "the address only changes hands");
  assert.ok(next.services.includes("default/abc"));
  desired.apply(remove(service("abc")));
  assert.deepEqual(round(desired).services, ["default/abc", "default/web"]);
  assert.equal(owner(), "default/web");
});

Deno.test("DesiredState tells an issue once, and again when it comes back", () => {
  const bare = service("bare", { clusterIPs: [] });
  const desired = loaded(bare);
  assert.deepEqual(round(desired).issues, ["default/bare NoAddress"]);
  desired.invalidate("default/bare");
  assert.deepEqual(round(desired).issues, []);
  desired.apply(upsert({ ...bare, clusterIPs: ["10.96.0.9"] }));
  round(desired);
  desired.apply(upsert(bare));
  assert.deepEqual(round(desired).issues, ["default/bare NoAddress"]);
});

Deno.test("DesiredState goes on naming removed keys until they are settled", () => {
  const desired = loaded(web);
  round(desired);
  desired.apply(remove(web));
  const removed = () => {
    const { groups, removed } = syncGroups(desired);
    return [groups.length, removed.size];
  };
  assert.deepEqual(removed(), [1, 2]);
  assert.deepEqual(removed(), [0, 2]);
  desired.apply(upsert({ ...web, ports: [] }));
  assert.deepEqual(removed(), [1, 1], "the address is desired again");
  desired.commit();
  assert.deepEqual(removed(), [0, 0]);
});

/** Everything desired of `state`. */
function desiredFrontends(state: ClusterState, nodeName: string) {
  const { groups } = syncGroups(new DesiredState(nodeName, state));
  return groups.flatMap(({ frontends }) => frontends);
}

Deno.test("DesiredState of an empty cluster is empty", () => {
  assert.deepEqual(desiredFrontends(emptyState(), "node1"), []);
});

Deno.test("DesiredState lists every frontend of every Service", () => {
  const { state } = loaded(web, api);
  assert.deepEqual(desiredFrontends(state, "node1").map(({ key }) => key.text), [
    "10.96.0.1:80/6/0",
    "10.96.0.1:0/0/0",
    "10.96.0.2:80/6/0",
    "10.96.0.2:0/0/0",
  ]);
});
