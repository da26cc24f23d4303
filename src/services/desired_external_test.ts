/** Rights and other things that reach across Services: conflicts, types that change, zones, Pods' weights. */
import type { FrontendKey } from "../model/frontend.ts";
import assert from "node:assert/strict";
import type { ClusterObject, Service } from "../model/objects.ts";
import type { ExternalIPs } from "./claims.ts";
import { DesiredState } from "./desired.ts";
import { node, pod, remove, service, show, slice, syncGroups, upsert } from "./test_support.ts";

const port = { name: "http", protocol: "TCP", port: 80, targetPort: 8080 } as const;
const nodePort = { ...port, nodePort: 30080 } as const;

const place = ({ addr, port, scope }: FrontendKey) => `${addr}:${port}/${scope}`;

/** What is in the maps after each round, `address:port -> Service`, of both scopes. */
class Rounds {
  readonly desired: DesiredState;
  readonly held = new Map<string, string>();
  /** The Services that the last round worked out. */
  worked: string[] = [];

  constructor(externalIPs?: ExternalIPs) {
    this.desired = new DesiredState("node1", undefined, { externalIPs });
  }

  put(...objects: ClusterObject[]) {
    for (const object of objects) this.desired.apply(upsert(object));
    return this.#round();
  }
  remove(...objects: ClusterObject[]) {
    for (const object of objects) this.desired.apply(remove(object));
    return this.#round();
  }
  /** The issues of a round. */
  #round(): string[] {
    const { groups, removed, issues } = syncGroups(this.desired);
    this.worked = [];
    for (const group of groups) {
      this.worked.push(group.service.replace("default/", ""));
      for (const { key, portId } of group.frontends) {
        if (key.port > 0) this.held.set(place(key), portId.service.replace("default/", ""));
      }
    }
    for (const key of removed.values()) this.held.delete(place(key));
    this.desired.commit();
    this.worked.sort();
    return issues.map(({ service, reason }) => `${service.replace("default/", "")} ${reason}`);
  }
  /** Who has an address and port, in both scopes. */
  at(place: string): string | undefined {
    const [inside, outside] = [this.held.get(`${place}/0`), this.held.get(`${place}/1`)];
    assert.equal(inside, outside ?? inside);
    return inside;
  }
}

const external = (name: string, address: string, rest: Partial<Service> = {}) =>
  service(name, { clusterIPs: [], externalIPs: [address], ...rest });
const exposed = (name: string, rest: Partial<Service> = {}) =>
  service(name, { type: "NodePort", clusterIPs: [], ports: [nodePort], ...rest });

Deno.test("DesiredState gives a node port to the older of two Services, and to the other when it goes", () => {
  const rounds = new Rounds();
  const [young, old] = [exposed("a", { createdAt: 2 }), exposed("b", { createdAt: 1 })];
  rounds.put(young);
  assert.equal(rounds.at("0.0.0.0:30080"), "a");
  assert.deepEqual(rounds.put(old), ["b NoAddress", "a PortConflict"]);
  assert.equal(rounds.at("0.0.0.0:30080"), "b");
  rounds.remove(old);
  assert.equal(rounds.at("0.0.0.0:30080"), "a");
  // The other one is made anew, and is the younger one now.
  assert.ok(rounds.put({ ...old, createdAt: 3 }).includes("b PortConflict"));
  assert.equal(rounds.at("0.0.0.0:30080"), "a");
});

Deno.test("DesiredState lets TCP and UDP have the same node port", () => {
  const rounds = new Rounds();
  const issues = rounds.put(
    exposed("a"),
    exposed("b", { ports: [{ ...nodePort, protocol: "UDP" }] }),
  );
  assert.ok(!issues.includes("b PortConflict"));
});

Deno.test("DesiredState shares an external address port by port, the older Service first", () => {
  const rounds = new Rounds();
  const other = { ...port, name: "other", port: 81 };
  rounds.put(
    external("a", "192.0.2.1", { createdAt: 1 }),
    external("b", "192.0.2.1", { createdAt: 2, ports: [other] }),
  );
  assert.deepEqual([rounds.at("192.0.2.1:80"), rounds.at("192.0.2.1:81")], ["a", "b"]);
  const greedy = external("c", "192.0.2.1", { createdAt: 3, ports: [port, other] });
  assert.deepEqual(rounds.put(greedy), ["c NoAddress", "c PortConflict", "c PortConflict"]);
  rounds.remove(external("a", "192.0.2.1"));
  assert.deepEqual([rounds.at("192.0.2.1:80"), rounds.at("192.0.2.1:81")], ["c", "b"]);
});

Deno.test("DesiredState gives no Service ports of another Service's ClusterIP, however young that is", () => {
  const rounds = new Rounds();
  const thief = external("thief", "10.96.0.10", { createdAt: 1 });
  const thief2 = external("thief2", "10.96.0.10", { createdAt: 1, ports: [{ ...port, port: 81 }] });
  rounds.put(thief, thief2);
  assert.equal(rounds.at("10.96.0.10:80"), "thief");
  const dns = service("dns", { clusterIPs: ["10.96.0.10"], createdAt: 9 });
  assert.deepEqual(rounds.put(dns).sort(), ["thief AddressConflict", "thief2 AddressConflict"]);
  assert.deepEqual([rounds.at("10.96.0.10:80"), rounds.at("10.96.0.10:81")], ["dns", undefined]);
  assert.equal(rounds.held.get("10.96.0.10:80/1"), undefined, "not from outside either");
  rounds.remove(dns);
  assert.deepEqual([rounds.at("10.96.0.10:80"), rounds.at("10.96.0.10:81")], ["thief", "thief2"]);
});

Deno.test("DesiredState keeps a health check's port from node ports, and the reverse", () => {
  const rounds = new Rounds();
  const balanced = (name: string, createdAt: number) =>
    service(name, {
      type: "LoadBalancer",
      clusterIPs: [],
      externalTrafficPolicy: "Local",
      healthCheckNodePort: 30080,
      createdAt,
    });
  const checks = () => [...rounds.desired.healthChecks].map(([at, { name }]) => `${at} ${name}`);
  rounds.put(balanced("a", 2), slice("a", ["10.1.0.1 @node1"]));
  assert.deepEqual(rounds.desired.healthChecks.get(30080), {
    namespace: "default",
    name: "a",
    localEndpoints: 1,
  });
  assert.ok(rounds.put(exposed("b", { createdAt: 3 })).includes("b PortConflict"));
  assert.equal(rounds.at("0.0.0.0:30080"), undefined);
  assert.ok(rounds.put(balanced("c", 1)).includes("a PortConflict"));
  assert.deepEqual(checks(), ["30080 c"]);
  rounds.remove(balanced("c", 1));
  assert.deepEqual(checks(), ["30080 a"]);
  rounds.remove(slice("a", []));
  assert.equal(rounds.desired.healthChecks.get(30080)?.localEndpoints, 0);
  rounds.put({ ...balanced("a", 2), healthCheckNodePort: 30081 });
  assert.deepEqual(checks(), ["30081 a"]);
  assert.equal(rounds.at("0.0.0.0:30080"), "b");
  rounds.put({ ...balanced("a", 2), externalTrafficPolicy: "Cluster" });
  assert.deepEqual(checks(), []);
});

Deno.test("DesiredState takes a former type's entries away", () => {
  const rounds = new Rounds();
  const balanced = service("web", {
    type: "LoadBalancer",
    ports: [nodePort],
    loadBalancerIPs: ["198.51.100.1"],
  });
  const keys = (type: Service["type"]) => {
    rounds.put({ ...balanced, type });
    return [...rounds.held.keys()].sort();
  };
  const cluster = "10.96.0.1:80/0";
  const nodePorts = ["0.0.0.0:30080/0", "0.0.0.0:30080/1"];
  const ingress = ["198.51.100.1:80/0", "198.51.100.1:80/1"];
  assert.deepEqual(keys("LoadBalancer"), [...nodePorts, cluster, ...ingress]);
  assert.deepEqual(keys("NodePort"), [...nodePorts, cluster]);
  assert.deepEqual(keys("ClusterIP"), [cluster]);
  assert.deepEqual(keys("NodePort"), [...nodePorts, cluster]);
  assert.deepEqual(keys("ExternalName"), []);
  assert.deepEqual(keys("ClusterIP"), [cluster]);
  rounds.put({ ...balanced, headless: true, clusterIPs: [] });
  assert.deepEqual([...rounds.held.keys()], []);
});

/** Addresses of the backends at a Service's first frontend, with weights. */
function backendsOf({ desired }: Rounds, key: string): string {
  desired.invalidate(key);
  const group = syncGroups(desired).groups.find((one) => one.service === key);
  return show(group?.frontends[0]?.backends ?? []).map((one) => one.replace(/:8080/, "")).join(" ");
}

Deno.test("DesiredState follows this node's zone", () => {
  const rounds = new Rounds();
  rounds.put(service("web"), slice("web", ["10.1.0.1 zone:a", "10.1.0.2 zone:b"]));
  assert.equal(backendsOf(rounds, "default/web"), "10.1.0.1 10.1.0.2");
  rounds.put(node("node1", { zone: "a" }));
  assert.deepEqual(rounds.worked, ["web"]);
  assert.equal(backendsOf(rounds, "default/web"), "10.1.0.1");
  rounds.put(node("node1", { zone: "b" }));
  assert.deepEqual(rounds.worked, ["web"]);
  assert.equal(backendsOf(rounds, "default/web"), "10.1.0.2");
  rounds.put(node("node2", { zone: "a" }), node("node1", { zone: "b", podCIDRs: ["10.1.0.0/24"] }));
  assert.deepEqual(rounds.worked, [], "nothing else about Nodes matters");
  rounds.remove(node("node1"));
  assert.deepEqual(rounds.worked, ["web"]);
});

Deno.test("DesiredState follows Pods' weights, by targetRef or address", () => {
  const rounds = new Rounds();
  rounds.put(
    service("web"),
    service("api", { clusterIPs: ["10.96.0.2"] }),
    slice("web", ["10.1.0.1 pod:web-0", "10.1.0.2"]),
    slice("api", ["10.1.0.9"]),
  );
  const web = pod("web-0", { weight: 3 }), bare = pod("x", { weight: 4, podIPs: ["10.1.0.2"] });
  rounds.put(web, bare, pod("web-1", { weight: 9 }));
  assert.deepEqual(rounds.worked, ["web"]);
  assert.equal(backendsOf(rounds, "default/web"), "10.1.0.1*3 10.1.0.2*4");
  // The address of an endpoint that names its Pod is not looked at, nor are Pods of other namespaces.
  rounds.put(pod("y", { weight: 7, podIPs: ["10.1.0.1"] }), { ...web, namespace: "other" });
  assert.equal(backendsOf(rounds, "default/web"), "10.1.0.1*3 10.1.0.2*4");
  rounds.put(web, pod("web-2"));
  assert.deepEqual(rounds.worked, [], "nothing has changed");
  rounds.put(pod("web-0", { weight: 5 }));
  assert.deepEqual(rounds.worked, ["web"]);
  assert.equal(backendsOf(rounds, "default/web"), "10.1.0.1*5 10.1.0.2*4");
  rounds.put(pod("web-0"));
  assert.equal(backendsOf(rounds, "default/web"), "10.1.0.1 10.1.0.2*4");
  rounds.remove(bare);
  assert.deepEqual(rounds.worked, ["web"]);
  assert.equal(backendsOf(rounds, "default/web"), "10.1.0.1 10.1.0.2");
});

Deno.test("DesiredState sorts ten thousand Services that share an address in no time", () => {
  const rounds = new Rounds();
  const start = performance.now();
  for (let i = 0; i < 10_000; i++) {
    rounds.desired.apply(
      upsert(external(`s${i}`, "192.0.2.1", { ports: [{ ...port, port: i + 1 }] })),
    );
  }
  rounds.put();
  assert.equal(rounds.held.size, 20_000);
  assert.ok(performance.now() - start < 5000);
});

const owned = node("node2", { internalIPs: ["192.0.2.12"], podCIDRs: ["10.244.2.0/24"] });
const api = [
  service("kubernetes", { clusterIPs: ["10.96.0.1"] }),
  slice("kubernetes", ["203.0.113.9"]),
];
/** Of a node, in its podCIDR, of the API server's endpoint: first, last and in the middle. */
const OTHERS = ["192.0.2.12", "10.244.2.0", "10.244.2.77", "10.244.2.255", "203.0.113.9"];

Deno.test("DesiredState serves no external address of a node, a pod or the API server", () => {
  const rounds = new Rounds();
  rounds.put(owned, ...api);
  for (const [i, address] of OTHERS.entries()) {
    const balanced = { type: "LoadBalancer", externalIPs: [], loadBalancerIPs: [address] } as const;
    for (const rest of [{}, balanced]) {
      assert.deepEqual(rounds.put(external(`e${i}`, address, rest)).slice(0, 1), [
        `e${i} AddressConflict`,
      ], address);
      assert.equal(rounds.at(`${address}:80`), undefined, address);
      rounds.remove(external(`e${i}`, address));
    }
  }
  for (const address of ["192.0.2.13", "10.244.1.255", "10.244.3.0", "203.0.113.8"]) {
    rounds.put(external("free", address));
    assert.equal(rounds.at(`${address}:80`), "free", address);
  }
});

Deno.test("DesiredState takes an external address away when a node gets it, and gives it back", () => {
  const rounds = new Rounds();
  rounds.put(...OTHERS.map((address, i) => external(`e${i}`, address)));
  assert.equal(rounds.at("10.244.2.77:80"), "e2");
  rounds.put(owned, ...api);
  for (const address of OTHERS) assert.equal(rounds.at(`${address}:80`), undefined, address);
  rounds.put({ ...owned, zone: "z" }); // nothing that matters
  assert.deepEqual(rounds.worked, []);
  rounds.put({ ...owned, podCIDRs: ["10.244.9.0/24"] });
  assert.equal(rounds.at("10.244.2.77:80"), "e2");
  assert.equal(rounds.at("192.0.2.12:80"), undefined);
  rounds.remove(owned, api[1]!);
  assert.equal(rounds.at("192.0.2.12:80"), "e0");
  assert.equal(rounds.at("203.0.113.9:80"), "e4");
});

Deno.test("DesiredState serves every external address with externalIPs: on, and those of load balancers alone with off", () => {
  const [on, off] = [new Rounds("on"), new Rounds("off")];
  const balanced = service("lb", {
    type: "LoadBalancer",
    clusterIPs: [],
    loadBalancerIPs: ["203.0.113.50"],
    createdAt: 2,
  });
  const squatter = external("squatter", "203.0.113.50", { createdAt: 1 });
  for (const rounds of [on, off]) rounds.put(owned, external("web", "192.0.2.12"), balanced);
  assert.equal(on.at("192.0.2.12:80"), "web");
  assert.equal(off.at("192.0.2.12:80"), undefined);
  assert.deepEqual(off.put(squatter), ["squatter NoAddress", "squatter AddressRefused"]);
  assert.equal(off.at("203.0.113.50:80"), "lb");
});

Deno.test("DesiredState gives no Service a ClusterIP of a node or in a podCIDR, whatever the setting", () => {
  const rounds = new Rounds("on");
  rounds.put(owned);
  for (const address of ["192.0.2.12", "10.244.2.7"]) {
    assert.deepEqual(rounds.put(service("web", { clusterIPs: [address] })), [
      "web AddressConflict",
    ]);
    assert.equal(rounds.at(`${address}:80`), undefined);
    rounds.remove(service("web"));
  }
});
