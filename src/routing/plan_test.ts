import assert from "node:assert/strict";
import { emptyPlan, overlayMac, planRouting } from "./plan.ts";
import { cpuMs, input, manyNodes, node, settings, uplink } from "./test_support.ts";

const direct = settings({ routing: "direct" });

Deno.test("overlayMac() is locally administered and differs from node to node", () => {
  assert.equal(overlayMac("192.168.50.11"), "02:70:c0:a8:32:0b");
  assert.equal(overlayMac("10.0.0.255"), "02:70:0a:00:00:ff");
});

Deno.test("planRouting() plans device, route, neighbour and map entry for a peer on the overlay", () => {
  const plan = planRouting(input([node(1), node(2)]));
  assert.deepEqual(plan.device, {
    name: "pcnk_vxlan",
    port: 4789,
    mac: "02:70:c0:a8:32:0b",
    mtu: 1450,
    checksumOffload: true,
    address: "10.244.1.0",
  });
  assert.deepEqual(plan.routes, [
    { type: "unreachable", destination: "10.244.1.0/24" },
    {
      type: "overlay",
      destination: "10.244.2.0/24",
      gateway: "10.244.2.0",
      encap: { id: 42, destination: "192.168.50.12" },
    },
  ]);
  assert.deepEqual(plan.neighbours, [{ address: "10.244.2.0", mac: "02:70:c0:a8:32:0c" }]);
  assert.deepEqual(plan.remotes, [
    {
      prefix: "10.244.2.0/24",
      mode: "overlay",
      nodeAddr: "192.168.50.12",
      mac: "02:70:c0:a8:32:0c",
    },
  ]);
  assert.deepEqual(plan.problems, []);
  assert.equal(plan.mtu, 1450);
});

Deno.test("planRouting() routes directly between nodes on one subnet that both ask", () => {
  const plan = planRouting(input([node(1), node(2)], { settings: direct }));
  assert.deepEqual(plan.routes[1], {
    type: "direct",
    destination: "10.244.2.0/24",
    gateway: "192.168.50.12",
    ifindex: 2,
  });
  assert.deepEqual(plan.neighbours, []);
  assert.deepEqual(plan.remotes, [
    {
      prefix: "10.244.2.0/24",
      mode: "direct",
      nodeAddr: "192.168.50.12",
      mac: "00:00:00:00:00:00",
    },
  ]);
  assert.equal(plan.peers[0]?.reason, "both are on 192.168.50.0/24 and ask for direct routing");
});

/** How n1 reaches n2, and why. */
function way(...args: Parameters<typeof input>): [mode: string, nodeAddr: string, reason: string] {
  const { mode, nodeAddr, reason } = planRouting(input(...args)).peers[0]!;
  return [mode, nodeAddr, reason];
}

Deno.test("planRouting() goes by the annotations first, by the settings without them", () => {
  const yes = { directRouting: true };
  const no = { directRouting: false };
  assert.equal(way([node(1, yes), node(2, yes)])[0], "direct");
  assert.deepEqual(way([node(1, yes), node(2)]), [
    "overlay",
    "192.168.50.12",
    "n2 does not ask for direct routing",
  ]);
  assert.equal(way([node(1), node(2, yes)])[2], "this node does not ask for direct routing");
  assert.equal(way([node(1), node(2, no)], { settings: direct })[0], "overlay");
  assert.equal(way([node(1, no), node(2)], { settings: direct })[0], "overlay");
});

Deno.test("planRouting() keeps pairs that share no subnet on the overlay", () => {
  const far = node(2, { internalIPs: ["10.9.9.9"] });
  assert.deepEqual(way([node(1), far], { settings: direct }), [
    "overlay",
    "10.9.9.9",
    "the nodes share no subnet",
  ]);
  // The uplink reaches both, but the others know this node by an address elsewhere.
  const elsewhere = node(1, { internalIPs: ["10.8.8.8"] });
  assert.equal(way([elsewhere, node(2)], { settings: direct })[0], "overlay");
  const single = { ...uplink, addresses: [{ address: "192.168.50.11", prefixLength: 32 }] };
  assert.equal(way([node(1), node(2)], { settings: direct, uplinks: [single] })[0], "overlay");
});

Deno.test("planRouting() finds the shared subnet on any uplink and address", () => {
  const second = { ...uplink, ifindex: 7, name: "eth1" };
  const other = { ...uplink, addresses: [{ address: "10.0.0.1", prefixLength: 8 }] };
  const plan = planRouting(
    input([node(1), node(2)], { settings: direct, uplinks: [other, second] }),
  );
  assert.equal(plan.remotes[0]?.mode, "direct");
  assert.ok(plan.routes.some((route) => route.type === "direct" && route.ifindex === 7));
});

Deno.test("planRouting() tunnels to the public address of a node behind NAT", () => {
  const [here, there] = [{ publicIP: "198.51.100.1" }, { publicIP: "203.0.113.7" }];
  assert.equal(way([node(1), node(2, there)])[1], "203.0.113.7");
  assert.equal(way([node(1, here), node(2, there)])[1], "203.0.113.7");
  assert.equal(way([node(1, here), node(2)])[1], "192.168.50.12");
  const plan = planRouting(input([node(1), node(2, there)]));
  assert.equal(plan.neighbours[0]?.mac, "02:70:c0:a8:32:0c", "the MAC stays that of InternalIP");
});

Deno.test("planRouting() takes nodes behind one public address for neighbours, others not", () => {
  const [here, there] = [{ publicIP: "198.51.100.1" }, { publicIP: "203.0.113.7" }];
  assert.deepEqual(way([node(1, here), node(2, here)]).slice(0, 2), ["overlay", "192.168.50.12"]);
  assert.equal(way([node(1, here), node(2, here)], { settings: direct })[0], "direct");
  assert.deepEqual(way([node(1, here), node(2, there)], { settings: direct }), [
    "overlay",
    "203.0.113.7",
    "the nodes are behind different public addresses",
  ]);
});

Deno.test("planRouting() takes the MTU from the smallest uplink, unless it is set", () => {
  const uplinks = [uplink, { ...uplink, name: "eth1", mtu: 1400 }];
  assert.equal(planRouting(input([node(1)], { uplinks })).mtu, 1350);
  assert.equal(planRouting(input([node(1)], { uplinks: [{ ...uplink, mtu: 9000 }] })).mtu, 8950);
  const small = planRouting(input([node(1)], { settings: settings({ mtu: 1300 }) }));
  assert.deepEqual([small.mtu, small.device?.mtu, small.problems], [1300, 1300, []]);
  const big = planRouting(input([node(1)], { settings: settings({ mtu: 1500 }) }));
  assert.equal(big.mtu, 1500);
  assert.deepEqual(big.problems.map(({ code }) => code), ["mtu-too-big"]);
});

Deno.test("planRouting() without an uplink uses the overlay and says so", () => {
  const plan = planRouting(input([node(1), node(2)], { uplinks: [], settings: direct }));
  assert.equal(plan.peers[0]?.mode, "overlay");
  assert.equal(plan.mtu, 1450);
  assert.deepEqual(plan.problems.map(({ code }) => code), ["no-uplink"]);
});

Deno.test("planRouting() without the own Node asks for nothing to be touched", () => {
  const plan = planRouting(input([node(2)]));
  assert.equal(plan.usable, false);
  assert.deepEqual(plan.problems.map(({ code }) => code), ["own-node-missing"]);
});

Deno.test("planRouting() without an own podCIDR still routes to the others", () => {
  const plan = planRouting(input([node(1, { podCIDRs: [] }), node(2)]));
  assert.equal(plan.usable, true);
  assert.equal(plan.device?.address, undefined);
  assert.equal(plan.routes.length, 1);
});

Deno.test("planRouting() routes every podCIDR of a peer", () => {
  const plan = planRouting(
    input([node(1), node(2, { podCIDRs: ["10.244.2.0/24", "10.245.2.0/24"] })]),
  );
  assert.deepEqual(plan.remotes.map(({ prefix }) => prefix), ["10.244.2.0/24", "10.245.2.0/24"]);
  assert.deepEqual(plan.neighbours.map(({ address }) => address), ["10.244.2.0", "10.245.2.0"]);
});

Deno.test("planRouting() refuses settings out of range", () => {
  const { overlay } = settings();
  for (
    const change of [
      { overlay: { ...overlay, vni: 0 } },
      { overlay: { ...overlay, vni: 2 ** 24 } },
      { overlay: { ...overlay, port: 65536 } },
      { mtu: 100 },
      { mtu: 1400.5 },
    ]
  ) {
    assert.throws(() => planRouting(input([node(1)], { settings: settings(change) })), RangeError);
  }
});

Deno.test("planRouting() loosens reverse path filtering, forwards, and keeps IPv6 off the overlay", () => {
  const names = planRouting(input([node(1)])).sysctls.map(({ name, value, when }) =>
    `${name} ${value} ${when}`
  );
  assert.deepEqual(names, [
    "net/ipv4/ip_forward 1 differs",
    "net/ipv4/conf/pcnk_vxlan/forwarding 1 differs",
    "net/ipv4/conf/pcnk_vxlan/rp_filter 2 strict",
    "net/ipv4/conf/eth0/forwarding 1 differs",
    "net/ipv4/conf/eth0/rp_filter 2 strict",
    "net/ipv6/conf/pcnk_vxlan/disable_ipv6 1 differs",
  ]);
});

Deno.test("planRouting() gives the same plan whatever the order of the nodes", () => {
  const nodes = manyNodes(50);
  const plan = planRouting(input(nodes, { uplinks: [uplink] }));
  assert.deepEqual(planRouting(input(nodes.toReversed(), { uplinks: [uplink] })), plan);
});

Deno.test("planRouting() plans 5,000 nodes in less than a tenth of a second", () => {
  const nodes = manyNodes(5000);
  const times = Array.from({ length: 7 }, () =>
    cpuMs(() => {
      const plan = planRouting(input(nodes));
      assert.equal(plan.routes.length, 5000);
    }));
  const best = Math.min(...times);
  assert.ok(best < 100, `${best} ms`);
});

Deno.test("emptyPlan() wants nothing", () => {
  const { device, routes, remotes, usable } = emptyPlan();
  assert.deepEqual([device, routes, remotes, usable], [undefined, [], [], true]);
});
