import assert from "node:assert/strict";
import {
  endpointSliceManifests,
  labServices,
  nodeManifests,
  type PodAddress,
  serviceManifests,
} from "./manifests.ts";
import { DEFAULT_OPTIONS, planLab } from "./plan.ts";

const plan = planLab({ ...DEFAULT_OPTIONS, nodes: 16, pods: 2 });
const pods: PodAddress[] = plan.nodes.flatMap((node) =>
  node.pods.map((pod, i) => ({
    name: pod.name,
    node: node.name,
    address: `10.244.${node.index}.${i + 2}`,
  }))
);

Deno.test("labServices() gives every service a name and an address of its own", () => {
  const services = labServices(plan, pods);
  assert.equal(services.length, 5 + 16 + 32);
  assert.equal(new Set(services.map((service) => service.name)).size, services.length);
  assert.equal(new Set(services.map((service) => service.address)).size, services.length);
});

Deno.test("labServices() gives no NodePort twice, and none outside of Kubernetes' range", () => {
  const ports = labServices(plan, pods).map((service) => service.nodePort)
    .filter((port) => port !== undefined);
  assert.equal(ports.length, 2 + 16);
  assert.equal(new Set(ports).size, ports.length);
  assert.ok(ports.every((port) => port >= 30000 && port <= 32767));
});

Deno.test("serviceManifests() gives the policy Local to the one service that asks for it", () => {
  const local = serviceManifests(labServices(plan, pods))
    .filter(({ spec }) => (spec as Record<string, unknown>).externalTrafficPolicy === "Local");
  assert.deepEqual(local.map(({ metadata }) => metadata), [
    { name: "nodeport-local", namespace: "default" },
  ]);
});

Deno.test("labServices() puts a node's own pods behind the node's own service", () => {
  const services = labServices(plan, pods);
  const own = services.find((service) => service.name === "echo-node3");
  assert.deepEqual(own?.backends.map((pod) => pod.name), ["pod3-1", "pod3-2"]);
  const self = services.find((service) => service.name === "self-pod3-2");
  assert.equal(self?.address, "10.96.13.3");
  assert.deepEqual(self?.backends.map((pod) => pod.address), ["10.244.3.3"]);
});

Deno.test("endpointSliceManifests() has a slice also for a service with no backends", () => {
  const slices = endpointSliceManifests(labServices(plan, pods));
  const empty = slices.find((slice) => slice.metadata.name === "empty-lab");
  assert.deepEqual(empty?.endpoints, []);
  // One for each service; the weighted one has two.
  assert.equal(slices.length, serviceManifests(labServices(plan, pods)).length + 1);
});

Deno.test("endpointSliceManifests() has a slice for each weight, with all pods between them", () => {
  const slices = endpointSliceManifests(labServices(plan, pods))
    .filter(({ metadata }) => metadata.name.startsWith("weighted-"));
  assert.deepEqual(slices.map(({ metadata }) => metadata.annotations), [
    { "pcnk.io/weight": "3" },
    { "pcnk.io/weight": "1" },
  ]);
  assert.deepEqual(slices.map(({ endpoints }) => endpoints.length), [16, 16]);
});

Deno.test("nodeManifests() tells podCIDR and address of every node", () => {
  const [first] = nodeManifests(plan);
  assert.deepEqual(first?.spec, { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] });
  assert.equal(nodeManifests(plan).length, 16);
});
