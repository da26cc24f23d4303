import assert from "node:assert/strict";
import { checkNodes, tunnelSources } from "./nodes.ts";
import { node, uplink } from "./test_support.ts";
import type { RoutingNode } from "./types.ts";

/** What can be reached as `n2 192.168.50.12 10.244.2.0/24`, and the problems' codes with their nodes. */
function check(nodes: RoutingNode[], own = "n1") {
  const checked = checkNodes(own, nodes, [uplink]);
  return {
    own: checked.own?.name,
    peers: checked.peers.map(({ name, address, podCIDRs }) =>
      [name, address, ...podCIDRs.map(({ text }) => text)].join(" ")
    ),
    problems: checked.problems.map(({ code, node }) => `${code} ${node}`),
    messages: checked.problems.map(({ message }) => message),
  };
}

Deno.test("checkNodes() tells the own node from the others", () => {
  const { own, peers, problems } = check([node(3), node(2), node(1)]);
  assert.equal(own, "n1");
  assert.deepEqual(peers, ["n2 192.168.50.12 10.244.2.0/24", "n3 192.168.50.13 10.244.3.0/24"]);
  assert.deepEqual(problems, []);
});

Deno.test("checkNodes() says when the own Node is missing or has no address", () => {
  assert.deepEqual(check([node(2)]).problems, ["own-node-missing n1"]);
  assert.deepEqual(check([node(1, { internalIPs: [] })]).problems, ["no-address n1"]);
  assert.equal(check([node(2)]).own, undefined);
  assert.deepEqual(check([]).problems, ["own-node-missing n1"]);
});

Deno.test("checkNodes() leaves out Nodes without address or podCIDR, and no others", () => {
  const { peers, problems } = check([
    node(1),
    node(2, { internalIPs: [] }),
    node(3, { podCIDRs: [] }),
    node(4, { internalIPs: ["127.0.0.1", "0.0.0.0"] }),
    node(5),
  ]);
  assert.deepEqual(peers, ["n5 192.168.50.15 10.244.5.0/24"]);
  assert.deepEqual(problems, ["no-address n2", "no-pod-cidr n3", "no-address n4"]);
});

Deno.test("checkNodes() refuses podCIDRs that cannot be pods' addresses", () => {
  const podCIDRs = [
    "0.0.0.0/0",
    "224.0.0.0/24",
    "127.0.0.0/8",
    "10.0.0.0/33",
    "1.2.3",
    "8.0.0.0/5",
  ];
  for (const podCIDR of podCIDRs) {
    const { peers, problems } = check([node(1), node(2, { podCIDRs: [podCIDR] })]);
    assert.deepEqual([peers, problems], [[], ["bad-pod-cidr n2"]], podCIDR);
  }
  const { peers } = check([node(1), node(2, { podCIDRs: ["10.244.2.9/24", "bad"] })]);
  assert.deepEqual(peers, ["n2 192.168.50.12 10.244.2.0/24"]);
});

Deno.test("checkNodes() cuts hostile texts in its messages", () => {
  const hostile = "\n../../" + "x".repeat(1e5);
  const { messages } = check([node(1), node(2, { podCIDRs: [hostile], publicIP: hostile })]);
  assert.equal(messages.length, 2);
  for (const message of messages) {
    assert.ok(message.length < 250 && !message.includes("\n"), message);
  }
});

Deno.test("checkNodes() never gives the own podCIDR away, however old the other Node is", () => {
  const { peers, problems, messages } = check([
    node(1, { createdAt: 9 }),
    node(2, { podCIDRs: ["10.244.1.128/25", "10.244.2.0/24"], createdAt: 1 }),
    node(3, { podCIDRs: ["10.244.0.0/16"] }),
  ]);
  assert.deepEqual(peers, ["n2 192.168.50.12 10.244.2.0/24"]);
  assert.deepEqual(problems, ["pod-cidr-taken n2", "pod-cidr-taken n3"]);
  assert.equal(
    messages[0],
    "node n2: podCIDR 10.244.1.128/25 overlaps 10.244.1.0/24 of node n1, which keeps it",
  );
});

Deno.test("checkNodes() lets the older of two Nodes keep a podCIDR, or the first by name", () => {
  const both = (a?: number, b?: number) =>
    check([
      node(1),
      node(2, a === undefined ? {} : { createdAt: a }),
      node(3, { podCIDRs: ["10.244.2.0/24"], ...(b === undefined ? {} : { createdAt: b }) }),
    ]).peers;
  assert.deepEqual(both(1, 2), ["n2 192.168.50.12 10.244.2.0/24"]);
  assert.deepEqual(both(2, 1), ["n3 192.168.50.13 10.244.2.0/24"]);
  assert.deepEqual(both(), ["n2 192.168.50.12 10.244.2.0/24"]);
  assert.deepEqual(both(undefined, 7), ["n3 192.168.50.13 10.244.2.0/24"]);
});

Deno.test("checkNodes() reports an address that two Nodes have, and leaves out this node's double", () => {
  const twice = check([node(1), node(2), node(3, { internalIPs: ["192.168.50.12"] })]);
  assert.equal(twice.peers.length, 2);
  assert.deepEqual(twice.problems, ["address-twice n3"]);
  const own = check([node(1), node(2, { internalIPs: ["192.168.50.11"], createdAt: 0 })]);
  assert.deepEqual([own.peers, own.problems], [[], ["own-address-taken n2"]]);
});

Deno.test("checkNodes() does not route a podCIDR that would swallow the tunnels", () => {
  const { peers, problems } = check([node(1), node(2, { podCIDRs: ["192.168.50.0/28"] }), node(3)]);
  assert.deepEqual(peers, ["n3 192.168.50.13 10.244.3.0/24"]);
  assert.deepEqual(problems, ["pod-cidr-holds-node n2"]);
  const nat = node(3, { publicIP: "10.244.2.200" });
  assert.deepEqual(check([node(1), node(2), nat]).problems, ["pod-cidr-holds-node n2"]);
});

Deno.test("checkNodes() warns of a podCIDR within an uplink's network", () => {
  const { peers, problems } = check([node(1), node(2, { podCIDRs: ["192.168.50.128/25"] })]);
  assert.deepEqual(peers, ["n2 192.168.50.12 192.168.50.128/25"]);
  assert.deepEqual(problems, ["pod-cidr-in-uplink n2"]);
});

Deno.test("checkNodes() checks public addresses", () => {
  const bad = check([node(1), node(2, { publicIP: "nat.example" }), node(3, { publicIP: "::1" })]);
  assert.deepEqual(bad.problems, ["bad-public-ip n2", "bad-public-ip n3"]);
  assert.equal(bad.peers.length, 2);
  const publicIP = "203.0.113.7";
  const shared = check([node(1), node(2, { publicIP }), node(3, { publicIP })]);
  assert.deepEqual(shared.problems, ["public-ip-twice n3"]);
  const site = check([node(1, { publicIP }), node(2, { publicIP }), node(3, { publicIP })]);
  assert.deepEqual(site.problems, []);
});

function routed(
  name: string,
  internalIPs: string[],
  publicIP?: string,
  podCIDRs: string[] = [],
): RoutingNode {
  return { name, internalIPs, podCIDRs, publicIP };
}

Deno.test("tunnelSources() holds every address of the other nodes, and what a NAT makes of it", () => {
  const nodes = [
    routed("node1", ["192.0.2.11"], "203.0.113.1"),
    routed("node2", ["192.0.2.12", "198.51.100.12"], undefined, ["10.244.2.0/24", "fd00:2::/64"]),
    routed("node3", ["10.0.0.3"], "203.0.113.3", ["10.244.3.0/24"]),
  ];
  const [second, third] = [["192.0.2.12", "10.244.2.0/24"], ["10.0.0.3", "10.244.3.0/24"]].map((
    [nodeAddr, podCIDR],
  ) => ({ nodeAddr, podCIDR }));
  assert.deepEqual([...tunnelSources(nodes, "node1")], [
    ["192.0.2.12", second],
    ["198.51.100.12", second],
    ["10.0.0.3", third],
    ["203.0.113.3", third],
  ]);
});

Deno.test("tunnelSources() leaves out what is no address, and lets a node without pods send for itself", () => {
  const nodes = [routed("node2", ["fd00::1", "192.0.2.12"], "everywhere")];
  assert.deepEqual([...tunnelSources(nodes, "node1")], [
    ["192.0.2.12", { podCIDR: "0.0.0.0/32", nodeAddr: "192.0.2.12" }],
  ]);
});

Deno.test("tunnelSources() knows no network of an address that several nodes share, nor of a node with two", () => {
  const nodes = [
    routed("node2", ["10.0.0.2"], "203.0.113.1", ["10.244.2.0/24"]),
    routed("node3", ["10.0.0.3"], "203.0.113.1", ["10.244.3.0/24", "10.244.4.0/24"]),
  ];
  const sources = tunnelSources(nodes, "node1");
  assert.equal(sources.get("203.0.113.1")?.podCIDR, undefined);
  assert.equal(sources.get("10.0.0.3")?.podCIDR, undefined);
  assert.equal(sources.get("10.0.0.2")?.podCIDR, "10.244.2.0/24");
});
