import assert from "node:assert/strict";
import { parse } from "yaml";
import { decodeDocument } from "./decode.ts";

/** The only object in a document. */
function decode(yaml: string) {
  const [one, ...more] = decodeDocument(parse(yaml));
  assert.ok(one !== undefined && "object" in one, JSON.stringify(one));
  assert.equal(more.length, 0);
  return one.object;
}

/** The message of the only object, which does not decode. */
function failure(yaml: string): string {
  const [one] = decodeDocument(parse(yaml));
  assert.ok(one !== undefined && "error" in one, JSON.stringify(one));
  return `${one.title ?? "?"}: ${one.error.message}`;
}

const service = (spec: string, metadata = "") =>
  `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop${metadata}}, spec: {${spec}}}`;
const slice = (rest: string) =>
  `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}, ${rest}}`;

Deno.test("decodeDocument() reads a Service with the API's defaults", () => {
  assert.deepEqual(decode(service("clusterIP: 10.96.0.1, ports: [{port: 80}]")), {
    kind: "Service",
    namespace: "shop",
    name: "web",
    type: "ClusterIP",
    clusterIPs: ["10.96.0.1"],
    headless: false,
    ports: [{ name: "", protocol: "TCP", port: 80, targetPort: 80 }],
    publishNotReadyAddresses: false,
    internalTrafficPolicy: "Cluster",
    affinitySeconds: 0,
  });
});

Deno.test("decodeDocument() reads everything of a Service that pcnk uses", () => {
  assert.deepEqual(
    decode(service(
      `type: NodePort, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "fd00::1"], publishNotReadyAddresses: true,
       sessionAffinity: ClientIP, internalTrafficPolicy: Local,
       ports: [{name: dns, port: 53, protocol: UDP, targetPort: dns}, {name: dns-tcp, port: 53, targetPort: 5353}]`,
      `, creationTimestamp: "2024-05-06T07:08:09Z", annotations: {pcnk.io/weight: "5"}`,
    )),
    {
      kind: "Service",
      namespace: "shop",
      name: "web",
      createdAt: Date.UTC(2024, 4, 6, 7, 8, 9),
      type: "NodePort",
      clusterIPs: ["10.96.0.1"],
      headless: false,
      ports: [
        { name: "dns", protocol: "UDP", port: 53, targetPort: "dns" },
        { name: "dns-tcp", protocol: "TCP", port: 53, targetPort: 5353 },
      ],
      publishNotReadyAddresses: true,
      internalTrafficPolicy: "Local",
      affinitySeconds: 10800,
      weight: 5,
    },
  );
});

Deno.test("decodeDocument() reads how a Service is reached from outside", () => {
  const got = decode(
    `{apiVersion: v1, kind: Service, metadata: {name: web, annotations: {pcnk.io/lb-algorithm: maglev}},
      spec: {type: LoadBalancer, clusterIP: 10.96.0.1, externalIPs: [192.0.2.9, "fd00::9", 192.0.2.9],
        externalTrafficPolicy: Local, healthCheckNodePort: 32000, trafficDistribution: PreferClose,
        loadBalancerSourceRanges: [" 203.0.113.9/24 ", "fd00::/64"],
        ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 0}]},
      status: {loadBalancer: {ingress: [{ip: 198.51.100.1}, {ip: 198.51.100.2, ipMode: Proxy},
        {ip: 198.51.100.3, ipMode: VIP}, {hostname: lb.example}]}}}`,
  );
  assert.ok(got.kind === "Service");
  const { ports, ...rest } = got;
  assert.deepEqual(ports.map(({ nodePort }) => nodePort), [30080, undefined]);
  assert.deepEqual(rest, {
    kind: "Service",
    namespace: "default",
    name: "web",
    type: "LoadBalancer",
    clusterIPs: ["10.96.0.1"],
    headless: false,
    publishNotReadyAddresses: false,
    internalTrafficPolicy: "Cluster",
    affinitySeconds: 0,
    externalIPs: ["192.0.2.9"],
    loadBalancerIPs: ["198.51.100.1", "198.51.100.3"],
    externalTrafficPolicy: "Local",
    healthCheckNodePort: 32000,
    sourceRanges: ["203.0.113.0/24"],
    trafficDistribution: "PreferSameZone",
    lbAlgorithm: "maglev",
  });
});

Deno.test("decodeDocument() reads trafficDistribution; what it does not know is no preference", () => {
  for (
    const [given, read] of [
      ["PreferClose", "PreferSameZone"],
      ["PreferSameZone", "PreferSameZone"],
      ["PreferSameNode", "PreferSameNode"],
      ["PreferSameContinent", undefined],
    ]
  ) {
    const got = decode(service(`clusterIP: 10.96.0.1, trafficDistribution: ${given}`));
    assert.equal(got.kind === "Service" && got.trafficDistribution, read);
  }
});

Deno.test("decodeDocument() closes IPv4 to a Service whose source ranges are all IPv6", () => {
  const got = decode(service(`clusterIP: 10.96.0.1, loadBalancerSourceRanges: ["fd00::/64"]`));
  assert.deepEqual(got.kind === "Service" && got.sourceRanges, []);
});

Deno.test("decodeDocument() reads hints for nodes and the Pod behind an endpoint", () => {
  const got = decode(slice(
    `addressType: IPv4, endpoints: [{addresses: [10.1.0.1], targetRef: {kind: Pod, name: web-0},
       hints: {forZones: [{name: a}], forNodes: [{name: n1}, {name: n2}]}},
       {addresses: [10.1.0.2], targetRef: {kind: VirtualMachine, name: vm}}]`,
  ));
  assert.ok(got.kind === "EndpointSlice");
  const [first, second] = got.endpoints;
  assert.deepEqual([first?.pod, first?.forZones, first?.forNodes], ["web-0", ["a"], ["n1", "n2"]]);
  assert.equal(second?.pod, undefined);
});

Deno.test("decodeDocument() reads of a Pod its addresses and its weight", () => {
  const pod = (rest: string) => `{apiVersion: v1, kind: Pod, metadata: {name: web-0${rest}}`;
  assert.deepEqual(
    decode(pod(
      `, annotations: {pcnk.io/weight: "7"}}, status: {podIPs: [{ip: 10.1.0.1}, {ip: "fd00::1"}]}`,
    )),
    { kind: "Pod", namespace: "default", name: "web-0", podIPs: ["10.1.0.1"], weight: 7 },
  );
  assert.deepEqual(decode(pod("}, status: {podIP: 10.1.0.1}")), {
    kind: "Pod",
    namespace: "default",
    name: "web-0",
    podIPs: ["10.1.0.1"],
  });
  assert.deepEqual(decode(pod("}")), {
    kind: "Pod",
    namespace: "default",
    name: "web-0",
    podIPs: [],
  });
});

Deno.test("decodeDocument() tells headless services and those without an address apart", () => {
  const headless = decode(service("clusterIP: None, ports: [{port: 80}]"));
  const bare = decode(service("ports: [{port: 80}]"));
  assert.ok(headless.kind === "Service" && bare.kind === "Service");
  assert.deepEqual([headless.clusterIPs, headless.headless], [[], true]);
  assert.deepEqual([bare.clusterIPs, bare.headless], [[], false]);
});

Deno.test("decodeDocument() reads an EndpointSlice; absent conditions mean ready", () => {
  const got = decode(slice(
    `addressType: IPv4, ports: [{name: http, port: 8080}, {name: all}], endpoints: [
       {addresses: [10.1.0.1], nodeName: n1, zone: a, hints: {forZones: [{name: a}]}},
       {addresses: [10.1.0.2], conditions: {ready: false, serving: true, terminating: true}},
       {addresses: [10.1.0.3], conditions: {ready: false}}]`,
  ));
  assert.ok(got.kind === "EndpointSlice");
  assert.equal(got.serviceName, "web");
  assert.deepEqual(got.ports, [{ name: "http", protocol: "TCP", port: 8080 }]);
  assert.deepEqual(got.endpoints, [
    {
      address: "10.1.0.1",
      ready: true,
      serving: true,
      terminating: false,
      nodeName: "n1",
      zone: "a",
      forZones: ["a"],
    },
    { address: "10.1.0.2", ready: false, serving: true, terminating: true },
    { address: "10.1.0.3", ready: false, serving: false, terminating: false },
  ]);
});

Deno.test("decodeDocument() takes the v1beta1 slice, whose topology says the node", () => {
  const got = decode(
    `{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: {name: x}, addressType: IPv4,
      ports: null, endpoints: [{addresses: [10.1.0.1],
      topology: {kubernetes.io/hostname: n1, topology.kubernetes.io/zone: z}}]}`,
  );
  assert.ok(got.kind === "EndpointSlice");
  assert.deepEqual(got.endpoints.map(({ nodeName, zone }) => [nodeName, zone]), [["n1", "z"]]);
  assert.equal(got.serviceName, undefined);
});

Deno.test("decodeDocument() leaves the endpoints of IPv6 and FQDN slices out", () => {
  for (const type of ["IPv6", "FQDN"]) {
    const got = decode(slice(`addressType: ${type}, endpoints: [{addresses: ["fd00::1"]}]`));
    assert.ok(got.kind === "EndpointSlice");
    assert.deepEqual(got.endpoints, []);
  }
});

Deno.test("decodeDocument() reads Endpoints, ready and not", () => {
  const got = decode(
    `{apiVersion: v1, kind: Endpoints, metadata: {name: web}, subsets: [
      {addresses: [{ip: 10.1.0.1, nodeName: n}], notReadyAddresses: [{ip: 10.1.0.2}], ports: [{port: 8080}]}]}`,
  );
  assert.deepEqual(JSON.parse(JSON.stringify(got)), {
    kind: "Endpoints",
    namespace: "default",
    name: "web",
    subsets: [{
      ports: [{ name: "", protocol: "TCP", port: 8080 }],
      endpoints: [
        { address: "10.1.0.1", ready: true, serving: true, terminating: false, nodeName: "n" },
        { address: "10.1.0.2", ready: false, serving: false, terminating: false },
      ],
    }],
  });
});

Deno.test("decodeDocument() reads a Node's addresses, prefixes and zone", () => {
  const got = decode(
    `{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/zone: a}},
      spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, "fd00::/64"]},
      status: {addresses: [{type: Hostname, address: n1}, {type: InternalIP, address: 192.0.2.1}]}}`,
  );
  assert.deepEqual(JSON.parse(JSON.stringify(got)), {
    kind: "Node",
    name: "n1",
    internalIPs: ["192.0.2.1"],
    podCIDRs: ["10.244.1.0/24"],
    zone: "a",
  });
});

Deno.test("decodeDocument() reads lists, typed ones too, and goes on behind a wrong item", () => {
  const list = decodeDocument(parse(`{apiVersion: v1, kind: List, items: [
    ${service("clusterIP: 10.96.0.1")}, ${service("clusterIP: 10.96.0.300")}, ${
    service("clusterIP: 10.96.0.2")
  }]}`));
  assert.deepEqual(list.map((one) => Object.keys(one)[0]), ["object", "error", "object"]);
  const typed = decodeDocument(parse(
    "{apiVersion: v1, kind: NodeList, items: [{metadata: {name: a}}, {metadata: {name: b}}]}",
  ));
  assert.deepEqual(typed.map((one) => "object" in one && one.object.kind), ["Node", "Node"]);
});

Deno.test("decodeDocument() ignores what is not pcnk's business", () => {
  assert.deepEqual(decodeDocument(parse("{apiVersion: apps/v1, kind: Deployment}")), [
    { ignored: "apps/v1/Deployment" },
  ]);
  assert.deepEqual(decodeDocument(null), []);
  const labels = ["service-proxy-name: x", "headless:", 'headless: "false"'];
  for (const label of labels.map((one) => `service.kubernetes.io/${one}`)) {
    const meta = `metadata: {name: a, labels: {${label}}}`;
    const ignored = (text: string) => decodeDocument(parse(`{${text}, ${meta}}`));
    // Not even read: a mistake in it is its owner's.
    assert.deepEqual(ignored("apiVersion: v1, kind: Service, spec: {type: X}"), [
      { ignored: "v1/Service" },
    ]);
    assert.deepEqual(ignored("apiVersion: v1, kind: Endpoints"), [{ ignored: "v1/Endpoints" }]);
    const slice = "discovery.k8s.io/v1/EndpointSlice";
    assert.deepEqual(ignored("apiVersion: discovery.k8s.io/v1, kind: EndpointSlice"), [
      { ignored: slice },
    ]);
    assert.ok("object" in ignored("apiVersion: v1, kind: Node")[0]!);
  }
});

const failures: Record<string, [string, string]> = {
  "a text": ["hello", '?: must be an object, not "hello"'],
  "no kind": ["{apiVersion: v1}", "?: kind: is missing"],
  "no apiVersion": ["{kind: Service}", "Service: apiVersion: is missing"],
  "no name": [
    "{apiVersion: v1, kind: Service, metadata: {}}",
    "Service: metadata.name: is missing",
  ],
  "a hostile name": [
    "{apiVersion: v1, kind: Service, metadata: {name: ../../etc}}",
    'Service ../../etc: metadata.name: "../../etc" is not a valid name',
  ],
  "a port out of range": [
    service("clusterIP: 10.96.0.1, ports: [{port: 0}]"),
    "Service shop/web: spec.ports[0].port: must be a whole number from 1 to 65535, not 0",
  ],
  "a port that is text": [
    service("ports: [{port: '80'}]"),
    'Service shop/web: spec.ports[0].port: must be a whole number from 1 to 65535, not "80"',
  ],
  ...Object.fromEntries(
    ["127.0.0.1", "0.0.0.0", "224.0.0.9", "169.254.1.1", "255.255.255.255"].map((address) => [
      `a backend at ${address}`,
      [
        slice(`addressType: IPv4, endpoints: [{addresses: [${address}]}]`),
        `EndpointSlice web-1: endpoints[0].addresses[0]: ${address} is not an address that a backend may have`,
      ],
    ]),
  ),
  "a backend of Endpoints on loopback": [
    "{apiVersion: v1, kind: Endpoints, metadata: {name: a}, subsets: [{addresses: [{ip: 127.0.0.1}]}]}",
    "Endpoints a: subsets[0].addresses[0].ip: 127.0.0.1 is not an address that a backend may have",
  ],
  "more ports than are served": [
    service(`ports: [${Array.from({ length: 4097 }, (_, i) => `{port: ${i + 1}}`).join()}]`),
    "Service shop/web: spec.ports: has 4097 entries: at most 4096 are served",
  ],
  "more endpoints than the API takes": [
    slice(`addressType: IPv4, endpoints: [${"{addresses: [10.1.0.1]},".repeat(1001)}]`),
    "EndpointSlice web-1: endpoints: has 1001 entries: at most 1000 are served",
  ],
  "a port twice": [
    service("ports: [{name: a, port: 80}, {name: b, port: 80}]"),
    'Service shop/web: spec.ports[1]: port "80/TCP" is there twice',
  ],
  "an unknown type": [
    service("type: Magic"),
    "Service shop/web: spec.type: must be ClusterIP or NodePort or LoadBalancer or ExternalName, " +
    'not "Magic"',
  ],
  "a wrong address": [
    service("clusterIP: 10.96.0.256"),
    'Service shop/web: spec.clusterIP: "10.96.0.256" is not an IP address: 256 is more than 255',
  ],
  "a mapping for a list": [
    service("ports: {port: 80}"),
    "Service shop/web: spec.ports: must be a list, not a mapping",
  ],
  "a weight out of range": [
    service("clusterIP: 10.96.0.1", ", annotations: {pcnk.io/weight: heavy}"),
    "Service shop/web: metadata.annotations.pcnk.io/weight: " +
    'must be a whole number from 1 to 10000, not "heavy"',
  ],
  "a nodePort out of range": [
    service("ports: [{port: 80, nodePort: 70000}]"),
    "Service shop/web: spec.ports[0].nodePort: must be a whole number from 1 to 65535, not 70000",
  ],
  "a healthCheckNodePort out of range": [
    service("healthCheckNodePort: -1"),
    "Service shop/web: spec.healthCheckNodePort: must be a whole number from 1 to 65535, not -1",
  ],
  "a wrong externalIP": [
    service("externalIPs: [192.0.2.1, 192.0.2.1.1]"),
    'Service shop/web: spec.externalIPs[1]: "192.0.2.1.1" is not an IP address: it has 5 numbers instead of 4',
  ],
  "a wrong source range": [
    service("loadBalancerSourceRanges: [10.0.0.0/8, 10.0.0.1]"),
    'Service shop/web: spec.loadBalancerSourceRanges[1]: "10.0.0.1" is not an IP prefix: it has no /LENGTH',
  ],
  "an unknown externalTrafficPolicy": [
    service("externalTrafficPolicy: Near"),
    'Service shop/web: spec.externalTrafficPolicy: must be Cluster or Local, not "Near"',
  ],
  "an unknown algorithm": [
    service("clusterIP: 10.96.0.1", ", annotations: {pcnk.io/lb-algorithm: wrr}"),
    "Service shop/web: metadata.annotations.pcnk.io/lb-algorithm: " +
    'must be random or maglev, not "wrr"',
  ],
  "a wrong endpoint": [
    slice("addressType: IPv4, endpoints: [{addresses: [10.1.0]}]"),
    'EndpointSlice web-1: endpoints[0].addresses[0]: "10.1.0" is not an IP address: it has 3 numbers instead of 4',
  ],
  "a wrong condition": [
    slice("addressType: IPv4, endpoints: [{addresses: [10.1.0.1], conditions: {ready: 'yes'}}]"),
    'EndpointSlice web-1: endpoints[0].conditions.ready: must be true or false, not "yes"',
  ],
  "a wrong prefix": [
    "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDR: 10.0.0.0/33}}",
    'Node n: spec.podCIDR: "10.0.0.0/33" is not an IP prefix: its length must be a number from 0 to 32',
  ],
};

for (const [name, [yaml, message]] of Object.entries(failures)) {
  Deno.test(`decodeDocument() says what is wrong about ${name}`, () => {
    assert.equal(failure(yaml), message);
  });
}
