/** Which endpoints serve, by condition and policy (KEP-1669) and by topology (KEP-2433, KEP-3015). */
import assert from "node:assert/strict";
import type { Service } from "../model/objects.ts";
import { selectBackends } from "./endpoints.ts";
import type { Locality } from "./topology.ts";
import { service, show, slice } from "./test_support.ts";

interface Row {
  endpoints: string[];
  service?: Partial<Service>;
  locality?: Locality;
  /** The last part of each address; `!` is a terminating one. */
  cluster: string;
  /** Undefined: not looked at. */
  local?: string;
  any?: boolean;
}

const here = "@node1", there = "@node2";
const going = "terminating serving";

const rows: Record<string, Row> = {
  "ready endpoints before terminating ones": {
    endpoints: [`1 ${here}`, `2 ${there}`, `3 ${here} ${going}`, `4 ${there} notready`],
    cluster: "1 2",
    local: "1",
  },
  "terminating ones only while they serve": {
    endpoints: [`1 ${here} ${going}`, `2 ${there} ${going}`, `3 ${here} terminating`],
    cluster: "1! 2!",
    local: "1!",
  },
  "terminating ones here while others are ready elsewhere": {
    endpoints: [`1 ${here} ${going}`, `2 ${there}`],
    cluster: "2",
    local: "1!",
  },
  "nothing here while others are ready elsewhere": {
    endpoints: [`1 ${here} notready`, `2 ${there}`],
    cluster: "2",
    local: "",
  },
  "only terminating ones elsewhere": {
    endpoints: [`1 ${there} ${going}`],
    cluster: "1!",
    local: "",
    any: true,
  },
  "one that serves but is neither ready nor terminating": {
    endpoints: [`1 ${here} notready serving`],
    cluster: "",
    local: "",
    any: false,
  },
  "none": { endpoints: [], cluster: "", local: "", any: false },
  "publishNotReadyAddresses: all are ready": {
    service: { publishNotReadyAddresses: true },
    endpoints: [`1 ${here} notready`, `2 ${there} terminating`, `3 ${here}`],
    cluster: "1 2! 3",
    local: "1 3",
  },
  "endpoints without a node are nowhere": { endpoints: ["1"], cluster: "1", local: "" },

  "hints for zones": { endpoints: [`1 zone:a`, `2 zone:b`, `3 zone:b,a`], cluster: "1 3" },
  "hints of which one is missing": { endpoints: [`1 zone:a`, `2`], cluster: "1 2" },
  "hints that name no zone of ours": { endpoints: [`1 zone:b`, `2 zone:c`], cluster: "1 2" },
  "hints on a node without a zone": {
    locality: { nodeName: "node1" },
    endpoints: [`1 zone:a`, `2 zone:b`],
    cluster: "1 2",
  },
  "hints missing of an endpoint that is not ready": {
    endpoints: [`1 zone:a`, `2 zone:b`, `3 notready`],
    cluster: "1",
  },
  "hints for our zone of an endpoint that is not ready": {
    endpoints: [`1 zone:b`, `2 zone:a notready`],
    cluster: "1",
  },
  "hints are not looked at for terminating endpoints": {
    endpoints: [`1 zone:a ${going}`, `2 zone:b ${going}`],
    cluster: "1! 2!",
  },
  "hints do not count for policy Local": {
    endpoints: [`1 ${here} zone:b`, `2 ${there} zone:a`],
    cluster: "2",
    local: "1",
  },
  "hints for nodes": { endpoints: [`1 node:node1 zone:a`, `2 node:node2 zone:a`], cluster: "1" },
  "hints for nodes, none for ours: those for zones": {
    endpoints: [`1 node:node2 zone:b`, `2 node:node3 zone:a`],
    cluster: "2",
  },
  "hints for nodes of which one is missing": {
    endpoints: [`1 node:node1 zone:a`, `2 zone:a`],
    cluster: "1 2",
  },
  "hints for nodes only": { endpoints: [`1 node:node1`, `2 node:node2`], cluster: "1" },
  "hints whatever trafficDistribution says": {
    service: { trafficDistribution: "PreferSameZone" },
    endpoints: [`1 in:a zone:b`, `2 in:b zone:a`],
    cluster: "2",
  },

  "no trafficDistribution: zones do not matter": {
    endpoints: ["1 in:a", "2 in:b"],
    cluster: "1 2",
  },
  "PreferSameZone without hints": {
    service: { trafficDistribution: "PreferSameZone" },
    endpoints: [`1 in:a ${there}`, `2 in:b ${here}`, `3 in:a ${here}`],
    cluster: "1 3",
  },
  "PreferSameZone without hints, nothing in the zone": {
    service: { trafficDistribution: "PreferSameZone" },
    endpoints: ["1 in:b", "2 in:c"],
    cluster: "1 2",
  },
  "PreferSameZone without hints, a zone missing": {
    service: { trafficDistribution: "PreferSameZone" },
    endpoints: ["1 in:a", "2"],
    cluster: "1 2",
  },
  "PreferSameNode without hints": {
    service: { trafficDistribution: "PreferSameNode" },
    endpoints: [`1 in:a ${there}`, `2 in:a ${here}`],
    cluster: "2",
  },
  "PreferSameNode without hints, nothing on the node: the zone": {
    service: { trafficDistribution: "PreferSameNode" },
    endpoints: [`1 in:b ${there}`, `2 in:a ${there}`],
    cluster: "2",
  },
};

const locality: Locality = { nodeName: "node1", zone: "a" };

for (const [name, row] of Object.entries(rows)) {
  Deno.test(`selectBackends() takes ${name}`, () => {
    const object = service("web", row.service);
    const groups = [slice("web", row.endpoints.map((one) => `10.1.0.${one}`))];
    const got = selectBackends(object, object.ports[0]!, groups, row.locality ?? locality);
    const short = (list: readonly string[]) =>
      list.map((one) => one.replace(/^10\.1\.0\.(\d+):8080/, "$1")).join(" ");
    assert.equal(short(show(got.cluster.backends)), row.cluster);
    if (row.local !== undefined) assert.equal(short(show(got.local.backends)), row.local);
    if (row.any !== undefined) assert.equal(got.any, row.any);
  });
}

Deno.test("selectBackends() leaves what it does not take to drain, for each policy", () => {
  const object = service("web");
  const groups = [slice("web", [
    `10.1.0.1 ${here} zone:a`,
    `10.1.0.2 ${there} zone:b`,
    `10.1.0.3 ${here} ${going}`,
  ])];
  const { cluster, local } = selectBackends(object, object.ports[0]!, groups, locality);
  const last = (list: readonly { addr: string }[]) => list.map(({ addr }) => addr.slice(-1)).join();
  assert.deepEqual([last(cluster.backends), last(cluster.draining)], ["1", "2,3"]);
  assert.deepEqual([last(local.backends), last(local.draining)], ["1", "2,3"]);
});

Deno.test("selectBackends() takes a duplicate across slices once, the better one", () => {
  const object = service("web");
  const groups = [
    slice("web", [`10.1.0.1 ${here} ${going}`, `10.1.0.2 ${here} notready`]),
    slice("web", [`10.1.0.2 ${here}`, `10.1.0.1 ${here} ${going}`], { name: "b", weight: 3 }),
  ];
  const first = selectBackends(object, object.ports[0]!, groups, locality);
  assert.deepEqual(show(first.cluster.backends), ["10.1.0.2:8080*3"]);
  assert.deepEqual(first.cluster.draining.map(({ addr }) => addr), ["10.1.0.1"]);
  groups[1]!.endpoints.shift();
  const second = selectBackends(object, object.ports[0]!, groups, locality);
  assert.deepEqual(show(second.local.backends), ["10.1.0.1:8080*3!"]);
});

Deno.test("selectBackends() weighs by Pod, then slice, then Service", () => {
  const object = service("web", { weight: 2 });
  const groups = [
    slice("web", ["10.1.0.1 pod:a", "10.1.0.2 pod:b"]),
    slice("web", ["10.1.0.3 pod:a", "10.1.0.4"], { name: "web-2", weight: 5 }),
  ];
  const wanted = { cluster: true, local: false };
  const weight = ({ pod }: { pod?: string }) => pod === "a" ? 9 : undefined;
  const { cluster } = selectBackends(object, object.ports[0]!, groups, locality, wanted, weight);
  assert.deepEqual(cluster.backends.map(({ weight }) => weight), [9, 2, 9, 5]);
});
