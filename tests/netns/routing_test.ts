/** Routing between nodes on the real kernel: overlay, direct and mixed. */
import assert from "node:assert/strict";
import { readSysctl } from "../../src/linux/sysctl.ts";
import { ROUTE_PROTOCOL } from "../../src/routing/diff.ts";
import { emptyPlan } from "../../src/routing/plan.ts";
import * as needs from "../support/needs.ts";
import { BRIDGE, DEVICE, settings, type TestNode, World } from "./routing/world.ts";

const ignore = !needs.root();

function test(name: string, fn: (world: World) => void | Promise<void>, count?: number): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      using world = new World(count);
      await fn(world);
    },
  });
}

/** Every node reaches the host side of every other's podCIDR: from its own choice of address, and from its InternalIP. */
async function allReachAll(nodes: readonly TestNode[]) {
  for (const from of nodes) {
    for (const to of nodes) {
      if (from === to) continue;
      await from.reaches(to.gateway);
      await from.reaches(to.gateway, { source: from.address });
      await from.reaches(to.gateway, { source: from.gateway });
    }
  }
}

/** Our routes of a node: `10.244.2.0/24 overlay 192.168.50.12`. */
function ours({ netns }: TestNode): string[] {
  return netns.nl.routes().filter(({ protocol }) => protocol === ROUTE_PROTOCOL)
    .map(({ destination, encap, gateway, type }) =>
      encap
        ? `${destination} overlay ${encap.destination}`
        : gateway
        ? `${destination} direct ${gateway}`
        : `${destination} ${type}`
    ).sort();
}

test("reconcile() over the overlay: every host reaches every podCIDR", async (world) => {
  world.applyAll();
  await allReachAll(world.nodes);
  const [n1] = world.nodes;
  assert.deepEqual(ours(n1!), [
    "10.244.1.0/24 unreachable",
    "10.244.2.0/24 overlay 192.168.50.12",
    "10.244.3.0/24 overlay 192.168.50.13",
  ]);
  assert.ok(n1!.sent() > 0);
  assert.equal(n1!.netns.nl.routeTo("10.244.2.1").source, "10.244.1.0");
});

test("reconcile() directly: every host reaches every podCIDR, past the overlay", async (world) => {
  for (const node of world.nodes) node.settings = settings({ routing: "direct" });
  world.applyAll();
  const before = world.nodes.map((node) => node.sent());
  await allReachAll(world.nodes);
  assert.deepEqual(world.nodes.map((node) => node.sent()), before);
  assert.deepEqual(ours(world.nodes[0]!), [
    "10.244.1.0/24 unreachable",
    "10.244.2.0/24 direct 192.168.50.12",
    "10.244.3.0/24 direct 192.168.50.13",
  ]);
});

test("reconcile() mixed: only the pair that asks routes directly", async (world) => {
  const [n1, n2, n3] = world.nodes;
  const objects = [n1, n2].map((node) => node!.object({ directRouting: true }));
  world.applyAll([...objects, n3!.object()]);
  assert.deepEqual(ours(n1!).slice(1), [
    "10.244.2.0/24 direct 192.168.50.12",
    "10.244.3.0/24 overlay 192.168.50.13",
  ]);
  await allReachAll(world.nodes);
});

test("reconcile() works while the two ends disagree, under strict filtering", async (world) => {
  for (const node of world.nodes) {
    node.sysctl("net.ipv4.conf.all.rp_filter", "1");
    node.sysctl("net.ipv4.conf.eth0.rp_filter", "1");
  }
  const [n1, n2] = world.nodes;
  n1!.settings = settings({ routing: "direct" });
  world.applyAll();
  assert.equal(ours(n1!)[1], "10.244.2.0/24 direct 192.168.50.12");
  assert.equal(ours(n2!)[0], "10.244.1.0/24 overlay 192.168.50.11");
  await allReachAll(world.nodes);
});

test("reconcile() a second time has nothing to do, whatever the mode", (world) => {
  for (const routing of ["overlay", "direct", "overlay"] as const) {
    for (const node of world.nodes) node.settings = settings({ routing });
    assert.ok(world.applyAll().every(({ steps }) => steps.length > 0));
    for (const { steps } of world.applyAll()) assert.deepEqual(steps, []);
  }
});

test("reconcile() gives the same to an agent that has restarted", (world) => {
  const [n1] = world.nodes;
  n1!.apply(world.objects());
  const { index, mac } = n1!.vxlan();
  n1!.remotes.entries.delete("10.244.2.0/24");
  const { steps } = n1!.apply(world.objects());
  assert.deepEqual(steps.map((step) => step.do), ["set-remote"]);
  assert.deepEqual([n1!.vxlan().index, n1!.vxlan().mac], [index, mac]);
});

test("reconcile() follows a node that joins", async (world) => {
  world.applyAll();
  const n4 = world.join(4);
  const reports = world.applyAll();
  assert.deepEqual(reports[0]!.steps.map((step) => step.do), [
    "set-neighbour",
    "add-route",
    "set-remote",
  ]);
  await allReachAll([world.nodes[0]!, n4]);
});

test("reconcile() follows a node that leaves, and leaves the routes of others", async (world) => {
  const [n1, n2, n3] = world.nodes;
  const { nl } = n1!.netns;
  const foreign = { destination: "10.99.0.0/16", gateway: "192.168.50.12", protocol: 4 };
  nl.addRoute(foreign);
  world.applyAll();
  const before = nl.routes().filter(({ protocol }) => protocol !== ROUTE_PROTOCOL);
  const { steps } = n1!.apply([n1!.object(), n2!.object()]);
  assert.deepEqual(steps.map((step) => step.do), [
    "delete-remote",
    "delete-route",
    "delete-neighbour",
  ]);
  assert.deepEqual(nl.routes().filter(({ protocol }) => protocol !== ROUTE_PROTOCOL), before);
  assert.deepEqual(ours(n1!).slice(1), ["10.244.2.0/24 overlay 192.168.50.12"]);
  assert.deepEqual(nl.neighs(n1!.vxlan().index).map(({ address }) => address), ["10.244.2.0"]);
  assert.deepEqual([...n1!.remotes.entries.keys()], ["10.244.2.0/24"]);
  assert.equal((await n1!.ping(n3!.gateway)).ok, false);
  await n1!.reaches(n2!.gateway);
});

test("reconcile() follows a node that changes its address", async (world) => {
  const [n1, n2, n3] = world.nodes;
  for (const node of [n1, n2]) node!.settings = settings({ routing: "direct" });
  world.applyAll([n1!.object(), n2!.object(), n3!.object({ directRouting: false })]);
  const { nl } = n2!.netns;
  const eth0 = nl.link("eth0")!.index;
  const address = "192.168.50.77";
  nl.delAddr({ ifindex: eth0, address: n2!.address, prefixLength: 24 });
  nl.addAddr({ ifindex: eth0, address, prefixLength: 24 });
  const moved = n2!.object({ internalIPs: [address] });
  world.applyAll([n1!.object(), moved, n3!.object({ directRouting: false })]);
  assert.equal(n2!.vxlan().mac, "02:70:c0:a8:32:4d");
  // Changing the MAC address flushed the neighbours.
  const neighbours = nl.neighs(n2!.vxlan().index).filter(({ state }) => state === 0x80);
  assert.deepEqual(neighbours.map(({ address }) => address), ["10.244.3.0"]);
  assert.equal(ours(n1!)[1], "10.244.2.0/24 direct 192.168.50.77");
  assert.equal(ours(n3!)[1], "10.244.2.0/24 overlay 192.168.50.77");
  for (const [from, to] of [[n1, n2], [n2, n1], [n3, n2], [n2, n3]]) {
    await from!.reaches(to!.gateway);
  }
});

test("reconcile() follows a node that changes its podCIDR", async (world) => {
  world.applyAll();
  const [n1, n2, n3] = world.nodes;
  const { nl } = n2!.netns;
  const bridge = nl.link(BRIDGE)!.index;
  nl.delAddr({ ifindex: bridge, address: n2!.gateway, prefixLength: 24 });
  nl.addAddr({ ifindex: bridge, address: "10.244.88.1", prefixLength: 24 });
  const objects = [n1!.object(), n2!.object({ podCIDRs: ["10.244.88.0/24"] }), n3!.object()];
  world.applyAll(objects);
  for (const { steps } of world.applyAll(objects)) assert.deepEqual(steps, []);
  assert.deepEqual(ours(n1!), [
    "10.244.1.0/24 unreachable",
    "10.244.3.0/24 overlay 192.168.50.13",
    "10.244.88.0/24 overlay 192.168.50.12",
  ]);
  const addresses = nl.addrs(n2!.vxlan().index).map(({ address }) => address);
  assert.deepEqual(addresses, ["10.244.88.0"]);
  await n1!.reaches("10.244.88.1");
  await n2!.reaches(n1!.gateway);
});

test("reconcile() changes a pair's mode without losing a packet", async (world) => {
  world.applyAll();
  const [n1, n2] = world.nodes;
  const results: boolean[] = [];
  for (let round = 0; round < 40; round++) {
    const routing = round % 2 === 0 ? "direct" : "overlay";
    for (const node of [n1!, n2!]) {
      node.settings = settings({ routing });
      const answer = node.ping(node === n1 ? n2!.gateway : n1!.gateway);
      node.apply(world.objects());
      results.push((await answer).ok);
    }
  }
  assert.deepEqual(results.filter((ok) => !ok), []);
});

test("the overlay carries what fits its MTU, and the sender gets an ICMP error for the rest", async (world) => {
  world.applyAll();
  const [n1, n2] = world.nodes;
  assert.equal(n1!.vxlan().mtu, 1450);
  const headers = 20 + 8;
  await n1!.reaches(n2!.gateway, { size: 1450 - headers });
  const big = await n1!.ping(n2!.gateway, { size: 1451 - headers });
  assert.ok(!big.ok && /message too long/i.test(big.reason), JSON.stringify(big));
});

test("reconcile() follows the uplink's MTU", async (world) => {
  world.applyAll();
  const [n1, n2] = world.nodes;
  const { nl } = n1!.netns;
  nl.setLink(nl.link("eth0")!.index, { mtu: 1400 });
  const { steps } = n1!.apply(world.objects());
  assert.deepEqual(steps.map((step) => step.do), ["set-device"]);
  assert.equal(n1!.vxlan().mtu, 1350);
  await n1!.reaches(n2!.gateway, { size: 1350 - 28 });
});

test("reconcile() without an own podCIDR reaches the others all the same", async (world) => {
  const [n1, n2] = world.nodes;
  world.applyAll([n1!.object({ podCIDRs: [] }), n2!.object()]);
  await n1!.reaches(n2!.gateway);
  n1!.apply(world.objects());
  assert.equal(n1!.netns.nl.routeTo(n2!.gateway).source, "10.244.1.0");
}, 2);

test("a packet to a pod that is not there does not leave by the default route", async (world) => {
  const [n1, n2] = world.nodes;
  n1!.netns.nl.delLink(n1!.netns.nl.link(BRIDGE)!.index);
  world.applyAll();
  const answer = await n2!.ping("10.244.1.77");
  assert.deepEqual(answer.ok ? answer : answer.reason, "host unreachable");
}, 2);

test("the far end of a node behind NAT is its public address", async (world) => {
  const [n1, n2] = world.nodes;
  // The fabric is n2's NAT: what comes to the public address goes on to n2.
  const { nl } = n2!.netns;
  nl.addAddr({ ifindex: nl.link("lo")!.index, address: "203.0.113.7", prefixLength: 32 });
  world.fabric.nl.addRoute({ destination: "203.0.113.7/32", gateway: n2!.address });
  world.applyAll([n1!.object(), n2!.object({ publicIP: "203.0.113.7" })]);
  assert.equal(ours(n1!)[1], "10.244.2.0/24 overlay 203.0.113.7");
  await n1!.reaches(n2!.gateway);
  await n2!.reaches(n1!.gateway);
}, 2);

test("reconcile() with an empty plan takes everything of ours away, and nothing else", (world) => {
  const [n1] = world.nodes;
  const { nl } = n1!.netns;
  const state = () => ({ routes: nl.routes(), links: nl.links().map(({ name }) => name) });
  const before = state();
  n1!.apply(world.objects());
  n1!.routing.reconcile(emptyPlan());
  assert.deepEqual(state(), before);
  assert.equal(n1!.remotes.entries.size, 0);
});

test("reconcile() sets the kernel's parameters", (world) => {
  const [n1] = world.nodes;
  n1!.sysctl("net.ipv4.ip_forward", "0");
  n1!.sysctl("net/ipv4/conf/eth0/forwarding", "0");
  n1!.sysctl("net.ipv4.conf.default.rp_filter", "1");
  n1!.sysctl("net/ipv4/conf/eth0/rp_filter", "1");
  n1!.apply(world.objects());
  const read = (name: string) => readSysctl(name, n1!.netns.path);
  assert.equal(read("net.ipv4.ip_forward"), "1");
  assert.equal(read("net/ipv4/conf/eth0/forwarding"), "1");
  assert.equal(read("net/ipv4/conf/eth0/rp_filter"), "2");
  assert.equal(read(`net/ipv4/conf/${DEVICE}/rp_filter`), "2");
  assert.equal(read(`net/ipv6/conf/${DEVICE}/disable_ipv6`), "1");
  assert.deepEqual(n1!.apply(world.objects()).steps, []);
});

test("a step that fails is named and keeps no other from being done", async (world) => {
  const [n1, n2, n3] = world.nodes;
  n1!.settings = settings({ routing: "direct" });
  const objects = [n1!.object(), n2!.object(), n3!.object({ directRouting: false })];
  const plan = n1!.plan(objects);
  const { nl } = n1!.netns;
  const address = { ifindex: nl.link("eth0")!.index, address: n1!.address, prefixLength: 24 };
  nl.delAddr(address);
  const { failures } = n1!.routing.reconcile(plan);
  assert.equal(failures.length, 1);
  assert.match(
    failures[0]!.message,
    /^cannot add route 10\.244\.2\.0\/24 via 192\.168\.50\.12: RTM_NEWROUTE: ENETUNREACH/,
  );
  nl.addAddr(address);
  for (const node of world.nodes) node.apply(objects);
  await n1!.reaches(n2!.gateway);
  await n1!.reaches(n3!.gateway);
});
