import assert from "node:assert/strict";
import type { EndpointSlice, Service } from "../model/objects.ts";
import { frontendsOf } from "./frontends.ts";
import { service, show, slice } from "./test_support.ts";

/** What a Service comes to, as `key -> backends`, and its issues. */
function frontends(object: Service, slices: EndpointSlice[], nodeName = "node1") {
  const result = frontendsOf(object, { groups: slices, locality: { nodeName } });
  return {
    entries: result.frontends.map((one) => [one.key.text, ...show(one.backends)]),
    draining: result.frontends.flatMap(({ draining }) => draining.map(({ addr }) => addr)),
    issues: result.issues.map(({ reason }) => reason),
    frontends: result.frontends,
  };
}

const address = ["10.96.0.1:0/0/0"];
const port80 = "10.96.0.1:80/6/0";

interface Case {
  service?: Partial<Service>;
  slices?: EndpointSlice[];
  entries: string[][];
  draining?: string[];
  issues?: string[];
}

const cases: Record<string, Case> = {
  "ready endpoints, in order of address": {
    slices: [slice("web", ["10.1.0.9", "10.1.0.10", "9.0.0.1"])],
    entries: [[port80, "9.0.0.1:8080", "10.1.0.9:8080", "10.1.0.10:8080"], address],
  },
  "no endpoints": { slices: [], entries: [[port80], address] },
  "the empty slice of a Service without pods": {
    slices: [slice("web", [], { ports: [] })],
    entries: [[port80], address],
  },
  "endpoints that are not ready": {
    slices: [slice("web", ["10.1.0.1", "10.1.0.2 notready", "10.1.0.3 terminating serving"])],
    entries: [[port80, "10.1.0.1:8080"], address],
    draining: ["10.1.0.2", "10.1.0.3"],
  },
  "no ready endpoints: those that serve while they terminate": {
    slices: [slice("web", [
      "10.1.0.1 notready",
      "10.1.0.2 terminating serving",
      "10.1.0.3 terminating",
    ])],
    entries: [[port80, "10.1.0.2:8080!"], address],
    draining: ["10.1.0.1", "10.1.0.3"],
  },
  "publishNotReadyAddresses": {
    service: { publishNotReadyAddresses: true },
    slices: [slice("web", ["10.1.0.1 notready", "10.1.0.2 terminating"])],
    entries: [[port80, "10.1.0.1:8080", "10.1.0.2:8080!"], address],
  },
  "internalTrafficPolicy Local": {
    service: { internalTrafficPolicy: "Local" },
    slices: [slice("web", ["10.1.0.1 @node1", "10.1.0.2 @node2", "10.1.0.3"])],
    entries: [[port80, "10.1.0.1:8080"], address],
    draining: ["10.1.0.2", "10.1.0.3"],
  },
  "several slices with duplicates, the better condition counts": {
    slices: [
      slice("web", ["10.1.0.1", "10.1.0.2 notready"]),
      slice("web", ["10.1.0.1", "10.1.0.2", "10.1.0.3"], { name: "web-2" }),
    ],
    entries: [[port80, "10.1.0.1:8080", "10.1.0.2:8080", "10.1.0.3:8080"], address],
  },
  "named ports: each slice has its own number": {
    slices: [
      slice("web", ["10.1.0.1"]),
      slice("web", ["10.1.0.2"], {
        name: "web-2",
        ports: [{ name: "http", protocol: "TCP", port: 9090 }],
      }),
    ],
    entries: [[port80, "10.1.0.1:8080", "10.1.0.2:9090"], address],
  },
  "one port number on TCP and UDP": {
    service: {
      ports: [
        { name: "dns", protocol: "UDP", port: 53, targetPort: "dns" },
        { name: "dns-tcp", protocol: "TCP", port: 53, targetPort: "dns" },
      ],
    },
    slices: [slice("web", ["10.1.0.1"], {
      ports: [
        { name: "dns", protocol: "UDP", port: 5353 },
        { name: "dns-tcp", protocol: "TCP", port: 5354 },
      ],
    })],
    entries: [
      ["10.96.0.1:53/17/0", "10.1.0.1:5353"],
      ["10.96.0.1:53/6/0", "10.1.0.1:5354"],
      address,
    ],
  },
  "SCTP": {
    service: { ports: [{ name: "x", protocol: "SCTP", port: 5, targetPort: 5 }] },
    slices: [slice("web", ["10.1.0.1"])],
    entries: [address],
    issues: ["ProtocolIgnored"],
  },
  "a port that the slices do not have": {
    service: { ports: [{ name: "", protocol: "TCP", port: 80, targetPort: 80 }] },
    slices: [slice("web", ["10.1.0.1"])],
    entries: [[port80], address],
    issues: ["PortUnknown"],
  },
  "an endpoint that is the Service's own clusterIP": {
    slices: [slice("web", ["10.1.0.1", "10.96.0.1"])],
    entries: [[port80, "10.1.0.1:8080"], address],
    issues: ["BackendRefused"],
  },
  "two addresses": {
    service: { clusterIPs: ["10.96.0.1", "10.96.0.2", "10.96.0.1"] },
    slices: [slice("web", ["10.1.0.1"])],
    entries: [
      [port80, "10.1.0.1:8080"],
      ["10.96.0.2:80/6/0", "10.1.0.1:8080"],
      address,
      ["10.96.0.2:0/0/0"],
    ],
  },
  "a headless Service": { service: { clusterIPs: [], headless: true }, entries: [] },
  "an ExternalName": { service: { type: "ExternalName", clusterIPs: [] }, entries: [] },
  "a Service without an address": {
    service: { clusterIPs: [] },
    entries: [],
    issues: ["NoAddress"],
  },
  "weights of Service and slice": {
    service: { weight: 5 },
    slices: [slice("web", ["10.1.0.1"]), slice("web", ["10.1.0.2"], { name: "web-2", weight: 2 })],
    entries: [[port80, "10.1.0.1:8080*5", "10.1.0.2:8080*2"], address],
  },
};

for (
  const [name, { service: rest, slices = [], entries, draining, issues }] of Object.entries(cases)
) {
  Deno.test(`frontendsOf() handles ${name}`, () => {
    const got = frontends(service("web", rest), slices);
    assert.deepEqual(got.entries, entries);
    assert.deepEqual(got.draining, draining ?? []);
    assert.deepEqual(got.issues, issues ?? []);
  });
}

Deno.test("frontendsOf() gives the addresses of one port the same list and id", () => {
  const { frontends: all } = frontends(
    service("web", { clusterIPs: ["10.96.0.1", "10.96.0.2"], affinitySeconds: 60 }),
    [slice("web", ["10.1.0.1"])],
  );
  const [first, second] = all;
  assert.equal(first!.backends, second!.backends);
  assert.equal(first!.portId, second!.portId);
  assert.equal(first!.affinitySeconds, 60);
});

Deno.test("frontendsOf() leaves out ports whose backends no map could hold, in bounded time", () => {
  const names = Array.from({ length: 600 }, (_, i) => `p${i}`);
  const ports = names.map((name, i) => ({ name, protocol: "TCP" as const, port: i + 1 }));
  const web = service("web", { ports: ports.map((port) => ({ ...port, targetPort: port.port })) });
  const addresses = Array.from({ length: 1000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
  const { frontends, issues } = frontendsOf(web, {
    groups: [slice("web", addresses, { ports })],
    locality: { nodeName: "node1" },
  });
  assert.equal(frontends.length, 262 + 1);
  assert.deepEqual(issues.map(({ reason }) => reason), ["TooManyBackends"]);
  assert.match(issues[0]!.message, /^port 263 and later ones are left out: more than 262144/);
});
