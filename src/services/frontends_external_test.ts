/** What a Service comes to for clients outside the cluster, row by row. */
import assert from "node:assert/strict";
import { type Frontend, isAddressKey } from "../model/frontend.ts";
import type { EndpointSlice, Service } from "../model/objects.ts";
import { frontendsOf } from "./frontends.ts";
import { service, show, slice } from "./test_support.ts";

const port = { name: "http", protocol: "TCP", port: 80, targetPort: 8080 } as const;
const nodePort = { ...port, nodePort: 30080 } as const;

function build(rest: Partial<Service>, slices: EndpointSlice[]) {
  const object = service("web", { ports: [nodePort], ...rest });
  return frontendsOf(object, { groups: slices, locality: { nodeName: "node1" } });
}

/** `external` after the key of an entry for clients outside. */
function line(frontend: Frontend): string {
  const { key, localOnly, sourceRanges } = frontend;
  return [
    key.text.replace(/\/[01]$/, key.scope === 1 ? " external" : ""),
    ...show(frontend.backends).map((one) => one.replace(":8080", "")),
    ...(localOnly ? ["or drop"] : []),
    ...(sourceRanges === undefined ? [] : [`from ${sourceRanges.join()}`]),
  ].join(" ");
}

const near = "10.1.0.1 @node1", far = "10.1.0.2 @node2";
const both = [slice("web", [near, far])];
const clusterIP = ["10.96.0.1:80/6 10.1.0.1 10.1.0.2", "10.96.0.1:0/0"];
/** An entry for clients inside, and the same for those outside. */
const bothScopes = (line: string) => [line, line.replace(/^\S+/, "$& external")];
/** The ClusterIP's entries around others, as they come. */
const around = (...lines: string[]) => [clusterIP[0]!, ...lines, clusterIP[1]!];

interface Row {
  service: Partial<Service>;
  slices?: EndpointSlice[];
  entries: string[];
  issues?: string[];
}

const rows: Record<string, Row> = {
  "a ClusterIP: nothing for clients outside, no node port": {
    service: { type: "ClusterIP" },
    entries: around(),
  },
  "a NodePort: at any address of the node, in both scopes": {
    service: { type: "NodePort" },
    entries: around(...bothScopes("0.0.0.0:30080/6 10.1.0.1 10.1.0.2")),
  },
  "a NodePort without a number yet": {
    service: { type: "NodePort", ports: [port] },
    entries: around(),
  },
  "an external address: in both scopes, and no address entry": {
    service: { externalIPs: ["192.0.2.1"] },
    entries: around(...bothScopes("192.0.2.1:80/6 10.1.0.1 10.1.0.2")),
  },
  "a LoadBalancer's address": {
    service: { type: "LoadBalancer", loadBalancerIPs: ["198.51.100.1"], ports: [nodePort] },
    entries: around(
      ...bothScopes("198.51.100.1:80/6 10.1.0.1 10.1.0.2"),
      ...bothScopes("0.0.0.0:30080/6 10.1.0.1 10.1.0.2"),
    ),
  },
  "allocateLoadBalancerNodePorts false: no number, no entry": {
    service: { type: "LoadBalancer", loadBalancerIPs: ["198.51.100.1"], ports: [port] },
    entries: around(...bothScopes("198.51.100.1:80/6 10.1.0.1 10.1.0.2")),
  },
  "a load balancer's address that a former type left in the status": {
    service: { type: "ClusterIP", loadBalancerIPs: ["198.51.100.1"] },
    entries: around(),
  },
  "externalTrafficPolicy Local: this node's outside, all inside": {
    service: { type: "NodePort", externalTrafficPolicy: "Local" },
    entries: around(
      "0.0.0.0:30080/6 10.1.0.1 10.1.0.2",
      "0.0.0.0:30080/6 external 10.1.0.1 or drop",
    ),
  },
  "externalTrafficPolicy Local on every external address": {
    service: {
      type: "LoadBalancer",
      externalTrafficPolicy: "Local",
      externalIPs: ["192.0.2.1"],
      loadBalancerIPs: ["198.51.100.1"],
      ports: [port],
    },
    entries: around(
      "192.0.2.1:80/6 10.1.0.1 10.1.0.2",
      "192.0.2.1:80/6 external 10.1.0.1 or drop",
      "198.51.100.1:80/6 10.1.0.1 10.1.0.2",
      "198.51.100.1:80/6 external 10.1.0.1 or drop",
    ),
  },
  "externalTrafficPolicy Local without an endpoint here: dropped outside, served inside": {
    service: { type: "NodePort", externalTrafficPolicy: "Local" },
    slices: [slice("web", [far])],
    entries: [
      "10.96.0.1:80/6 10.1.0.2",
      "0.0.0.0:30080/6 10.1.0.2",
      "0.0.0.0:30080/6 external or drop",
      "10.96.0.1:0/0",
    ],
  },
  "externalTrafficPolicy Local without any endpoint: refused": {
    service: { type: "NodePort", externalTrafficPolicy: "Local" },
    slices: [slice("web", ["10.1.0.1 @node1 notready"])],
    entries: ["10.96.0.1:80/6", ...bothScopes("0.0.0.0:30080/6"), "10.96.0.1:0/0"],
  },
  "internalTrafficPolicy Local: the ClusterIP only": {
    service: { type: "NodePort", internalTrafficPolicy: "Local" },
    entries: [
      "10.96.0.1:80/6 10.1.0.1 or drop",
      ...bothScopes("0.0.0.0:30080/6 10.1.0.1 10.1.0.2"),
      "10.96.0.1:0/0",
    ],
  },
  "both policies Local": {
    service: { type: "NodePort", internalTrafficPolicy: "Local", externalTrafficPolicy: "Local" },
    entries: [
      "10.96.0.1:80/6 10.1.0.1 or drop",
      "0.0.0.0:30080/6 10.1.0.1 10.1.0.2",
      "0.0.0.0:30080/6 external 10.1.0.1 or drop",
      "10.96.0.1:0/0",
    ],
  },
  "loadBalancerSourceRanges: load balancers' addresses only, in both scopes": {
    service: {
      type: "LoadBalancer",
      sourceRanges: ["203.0.113.0/24", "10.0.0.0/8"],
      externalIPs: ["192.0.2.1"],
      loadBalancerIPs: ["198.51.100.1"],
    },
    entries: around(
      ...bothScopes("192.0.2.1:80/6 10.1.0.1 10.1.0.2"),
      ...bothScopes("198.51.100.1:80/6 10.1.0.1 10.1.0.2 from 203.0.113.0/24,10.0.0.0/8"),
      ...bothScopes("0.0.0.0:30080/6 10.1.0.1 10.1.0.2"),
    ),
  },
  "loadBalancerSourceRanges that name everybody": {
    service: {
      type: "LoadBalancer",
      sourceRanges: ["10.0.0.0/8", "0.0.0.0/0"],
      loadBalancerIPs: ["198.51.100.1"],
      ports: [port],
    },
    entries: around(...bothScopes("198.51.100.1:80/6 10.1.0.1 10.1.0.2")),
  },
  "loadBalancerSourceRanges without any of IPv4": {
    service: {
      type: "LoadBalancer",
      sourceRanges: [],
      loadBalancerIPs: ["198.51.100.1"],
      ports: [port],
    },
    entries: around(...bothScopes("198.51.100.1:80/6 10.1.0.1 10.1.0.2 from ")),
  },
  "an address that is external twice": {
    service: { type: "LoadBalancer", externalIPs: ["192.0.2.1"], loadBalancerIPs: ["192.0.2.1"] },
    entries: around(
      ...bothScopes("192.0.2.1:80/6 10.1.0.1 10.1.0.2"),
      ...bothScopes("0.0.0.0:30080/6 10.1.0.1 10.1.0.2"),
    ),
  },
  "a ClusterIP that is also external: inside as the ClusterIP": {
    service: { internalTrafficPolicy: "Local", externalIPs: ["10.96.0.1"] },
    entries: [
      "10.96.0.1:80/6 10.1.0.1 or drop",
      "10.96.0.1:80/6 external 10.1.0.1 10.1.0.2",
      "10.96.0.1:0/0",
    ],
  },
  "one number on TCP and UDP": {
    service: {
      type: "NodePort",
      ports: [
        { name: "dns", protocol: "UDP", port: 53, targetPort: 53, nodePort: 30053 },
        { name: "dns-tcp", protocol: "TCP", port: 53, targetPort: 53, nodePort: 30053 },
      ],
    },
    slices: [slice("web", [near], {
      ports: [
        { name: "dns", protocol: "UDP", port: 8080 },
        { name: "dns-tcp", protocol: "TCP", port: 8080 },
      ],
    })],
    entries: [
      "10.96.0.1:53/17 10.1.0.1",
      ...bothScopes("0.0.0.0:30053/17 10.1.0.1"),
      "10.96.0.1:53/6 10.1.0.1",
      ...bothScopes("0.0.0.0:30053/6 10.1.0.1"),
      "10.96.0.1:0/0",
    ],
  },
  "a node port that two ports of the Service have": {
    service: { type: "NodePort", ports: [nodePort, { ...nodePort, name: "other", port: 81 }] },
    slices: [],
    entries: [
      "10.96.0.1:80/6",
      "0.0.0.0:30080/6",
      "0.0.0.0:30080/6 external",
      "10.96.0.1:81/6",
      "10.96.0.1:0/0",
    ],
    issues: ["PortConflict nodePort 30080/TCP is there twice; port 80 has it"],
  },
  "SCTP": {
    service: {
      type: "NodePort",
      externalIPs: ["192.0.2.1"],
      ports: [{ ...nodePort, protocol: "SCTP" }],
    },
    entries: ["10.96.0.1:0/0"],
    issues: ["ProtocolIgnored port 80/SCTP: pcnk serves TCP and UDP only"],
  },
  "a headless Service": {
    service: { type: "NodePort", headless: true, clusterIPs: [], externalIPs: ["192.0.2.1"] },
    entries: [],
  },
  "an ExternalName": {
    service: { type: "ExternalName", clusterIPs: [], externalIPs: ["192.0.2.1"] },
    entries: [],
  },
  "no ClusterIP: node ports serve without": {
    service: { type: "NodePort", clusterIPs: [] },
    entries: [...bothScopes("0.0.0.0:30080/6 10.1.0.1 10.1.0.2")],
    issues: [
      "NoAddress has no clusterIP: manifests must set spec.clusterIP, as no API server assigns one",
    ],
  },
  "addresses that no Service may have": {
    service: {
      clusterIPs: ["10.96.0.1", "127.0.0.1"],
      externalIPs: ["0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255"],
    },
    entries: around(),
    issues: ["127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255"]
      .map((one) => `AddressRefused address ${one} is not one that a Service may have`),
  },
};

for (const [name, { service: rest, slices = both, entries, issues }] of Object.entries(rows)) {
  Deno.test(`frontendsOf() handles ${name}`, () => {
    const got = build(rest, slices);
    assert.deepEqual(got.frontends.map(line), entries);
    const told = got.issues.map(({ reason, message }) => `${reason} ${message}`);
    assert.deepEqual(told, issues ?? []);
  });
}

Deno.test("frontendsOf() gives all frontends of a port its id, affinity and algorithm", () => {
  const { frontends } = build({
    type: "LoadBalancer",
    loadBalancerIPs: ["198.51.100.1"],
    affinitySeconds: 60,
    lbAlgorithm: "maglev",
  }, both);
  const ports = frontends.filter(({ key }) => !isAddressKey(key));
  assert.equal(ports.length, 5);
  for (const { portId, affinitySeconds, maglev } of ports) {
    assert.deepEqual([portId.text, affinitySeconds, maglev], ["default/web:80/TCP", 60, true]);
  }
  const address = frontends.find(({ key }) => isAddressKey(key));
  assert.deepEqual([address?.affinitySeconds, address?.maglev], [0, undefined]);
});

Deno.test("frontendsOf() takes the node's algorithm unless the Service says its own", () => {
  const maglev = (rest: Partial<Service>) =>
    frontendsOf(service("web", rest), {
      groups: [],
      locality: { nodeName: "node1" },
      lbAlgorithm: "maglev",
    }).frontends[0]?.maglev;
  assert.equal(maglev({}), true);
  assert.equal(maglev({ lbAlgorithm: "random" }), false);
});

const health = (rest: Partial<Service>, slices: EndpointSlice[]) =>
  build({
    type: "LoadBalancer",
    externalTrafficPolicy: "Local",
    healthCheckNodePort: 32000,
    ...rest,
  }, slices);

Deno.test("frontendsOf() counts ready endpoints of this node for the health check", () => {
  const slices = [
    slice("web", [near, far, "10.1.0.3 @node1 notready", "10.1.0.4 @node1 terminating serving"]),
    slice("web", [near, "10.1.0.5 @node1"], { name: "web-2" }),
    slice("web", ["10.1.0.6 @node1"], { name: "web-3", ports: [] }),
  ];
  assert.deepEqual(health({}, slices).health, { port: 32000, localEndpoints: 2 });
  assert.deepEqual(health({}, [slice("web", [far])]).health, { port: 32000, localEndpoints: 0 });
  const published = health({ publishNotReadyAddresses: true }, slices).health;
  assert.equal(published?.localEndpoints, 4);
});

Deno.test("frontendsOf() has a health check for externalTrafficPolicy Local of a LoadBalancer only", () => {
  assert.equal(health({ externalTrafficPolicy: "Cluster" }, both).health, undefined);
  assert.equal(health({ type: "NodePort" }, both).health, undefined);
  assert.equal(health({ headless: true, clusterIPs: [] }, both).health, undefined);
  const clash = health({ healthCheckNodePort: 30080 }, both);
  assert.equal(clash.health, undefined);
  assert.deepEqual(clash.issues.map(({ message }) => message), [
    "healthCheckNodePort 30080 is also a nodePort of the Service",
  ]);
});
