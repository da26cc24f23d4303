/** rtnetlink against the real kernel, in namespaces. */
import assert from "node:assert/strict";
import { SyscallError } from "../../src/linux/libc.ts";
import { MOST_REQUESTS } from "../../src/linux/netlink.ts";
import { NEIGH_STATE } from "../../src/linux/rtnl_neigh.ts";
import { type RtEvent, RtMonitor } from "../../src/linux/rtnl_monitor.ts";
import { addRouteRequest, deleteRouteRequest } from "../../src/linux/rtnl_route.ts";
import { writeSysctl } from "../../src/linux/sysctl.ts";
import { openFds } from "../support/fds.ts";
import * as needs from "../support/needs.ts";
import { sandboxed } from "../support/sandboxed.ts";

const ignore = !needs.root();

const test = sandboxed({ ignore, leaks: true }, (sandbox) => sandbox);

test("RtNetlink makes, changes and removes devices", (sandbox) => {
  const { nl } = sandbox.netns();
  nl.addLink({ kind: "bridge", name: "br0", up: true, forwardDelay: 0, mac: "02:00:00:00:00:0a" });
  const bridge = nl.link("br0")!;
  assert.equal(bridge.kind, "bridge");
  assert.equal(bridge.mac, "02:00:00:00:00:0a");
  nl.addLink({ kind: "veth", name: "v0", mtu: 1400, peer: { name: "v1" }, master: bridge.index });
  const [v0, v1] = [nl.link("v0")!, nl.link("v1")!];
  assert.equal(v0.master, bridge.index);
  assert.equal(v0.mtu, 1400);
  assert.equal(v0.peerIndex, v1.index);
  assert.equal(v0.peerNetnsId, undefined);
  assert.equal(v0.up, false);
  nl.setLink(v0.index, { up: true, master: 0, name: "renamed", mac: "02:00:00:00:00:0b" });
  const renamed = nl.link(v0.index)!;
  assert.deepEqual(
    [renamed.up, renamed.master, renamed.name, renamed.mac],
    [true, undefined, "renamed", "02:00:00:00:00:0b"],
  );
  assert.deepEqual(nl.links().map((link) => link.name), ["lo", "br0", "v1", "renamed"]);
  assert.equal(nl.delLink(v0.index), true);
  assert.equal(nl.delLink(v0.index), false);
  assert.equal(nl.link("v1"), undefined);
  assert.equal(nl.link(4711), undefined);
});

test("addLink() puts the other end of a veth pair into another namespace", (sandbox) => {
  const [a, b] = [sandbox.netns(), sandbox.netns()];
  const [inA, inB] = sandbox.veth(a, b);
  assert.equal(a.nl.link(inA)!.peerIndex, inB);
  assert.notEqual(a.nl.link(inA)!.peerNetnsId, undefined);
  assert.equal(b.nl.link(inB)!.running, true);
});

test("addLink() makes VXLAN devices, with an identifier and external", (sandbox) => {
  const { nl } = sandbox.netns();
  nl.addLink({ kind: "vxlan", name: "vx0", vxlan: { id: 42, local: "10.0.0.1", port: 8472 } });
  nl.addLink({ kind: "vxlan", name: "vx1", vxlan: { external: true }, mac: "02:70:0a:00:00:01" });
  assert.equal(nl.link("vx0")!.kind, "vxlan");
  assert.equal(nl.link("vx1")!.mac, "02:70:0a:00:00:01");
  const { index } = nl.link("vx0")!;
  const entry = { ifindex: index, mac: "02:00:00:00:00:01", destination: "192.0.2.1" };
  nl.replaceFdb(entry);
  const found = nl.fdb({ ifindex: index }).find(({ mac }) => mac === entry.mac)!;
  assert.equal(found.destination, "192.0.2.1");
  assert.equal(nl.delFdb(entry), true);
  assert.equal(nl.delFdb(entry), false);
});

test("RtNetlink says what the kernel says", (sandbox) => {
  const { nl } = sandbox.netns();
  nl.addLink({ kind: "veth", name: "v0", peer: { name: "v1" } });
  assert.throws(
    () => nl.setLink(nl.link("v0")!.index, { mtu: 1e9 }),
    (error: SyscallError) =>
      error.code === "EINVAL" && error.syscall === "RTM_SETLINK" &&
      error.message.includes("mtu greater than device maximum"),
  );
  assert.throws(() => nl.setLink(4711, { up: true }), { code: "ENODEV" });
  assert.throws(() => nl.addLink({ kind: "bridge", name: "v0" }), { code: "EEXIST" });
});

test("RtNetlink adds and removes addresses", (sandbox) => {
  const { nl } = sandbox.netns();
  nl.addLink({ kind: "bridge", name: "br0", up: true });
  const ifindex = nl.link("br0")!.index;
  const address = { ifindex, address: "10.0.0.1", prefixLength: 24 };
  assert.equal(nl.addAddr(address), true);
  assert.equal(nl.addAddr(address), false);
  assert.deepEqual(nl.addrs(ifindex), [
    { ...address, scope: 0, broadcast: undefined, peer: undefined },
  ]);
  assert.equal(nl.addrs().length, 2); // and that of lo
  assert.equal(nl.delAddr(address), true);
  assert.equal(nl.delAddr(address), false);
  assert.deepEqual(nl.addrs(ifindex), []);
});

test("RtNetlink adds, replaces, reads and removes routes", (sandbox) => {
  const [a, b] = [sandbox.netns(), sandbox.netns()];
  const [ifindex] = sandbox.veth(a, b);
  const { nl } = a;
  nl.addAddr({ ifindex, address: "10.0.0.1", prefixLength: 24 });
  assert.equal(nl.addRoute({ destination: "0.0.0.0/0", gateway: "10.0.0.254" }), true);
  const route = { destination: "10.1.0.0/16", gateway: "10.0.0.2", ifindex, metric: 7, mtu: 1400 };
  assert.equal(nl.addRoute(route), true);
  assert.equal(nl.addRoute(route), false);
  nl.replaceRoute({ ...route, gateway: "10.0.0.3", source: "10.0.0.1", protocol: 99 });
  const found = nl.routes().find(({ destination }) => destination === "10.1.0.0/16")!;
  assert.deepEqual(found, {
    destination: "10.1.0.0/16",
    gateway: "10.0.0.3",
    ifindex,
    source: "10.0.0.1",
    type: "unicast",
    table: 254,
    protocol: 99,
    scope: 0,
    metric: 7,
    mtu: 1400,
  });
  assert.equal(nl.routeTo("10.1.2.3").gateway, "10.0.0.3");
  assert.equal(nl.routeTo("8.8.8.8").gateway, "10.0.0.254");
  assert.equal(nl.delRoute(found), true);
  assert.equal(nl.delRoute(found), false);
  assert.deepEqual(nl.routes(4711), []);
});

test("requestAll() carries out all it can, in their order, and tells what it could not", (sandbox) => {
  const { nl } = sandbox.netns();
  nl.addLink({ kind: "bridge", name: "br0", up: true });
  const ifindex = nl.link("br0")!.index;
  const route = (i: number) => ({ destination: `10.9.${i}.0/24`, ifindex });
  const destinations = () =>
    nl.routes().map(({ destination }) => destination).filter((text) => text.startsWith("10.9."));
  const many = Array.from({ length: MOST_REQUESTS }, (_, i) => route(i));
  nl.addRoute(route(7));
  const failures = nl.requestAll(many.map(addRouteRequest));
  assert.deepEqual([...failures].map(([i, { code }]) => [i, code]), [[7, "EEXIST"]]);
  assert.equal(destinations().length, MOST_REQUESTS);
  const nowhere = { destination: "10.8.0.0/16", gateway: "192.0.2.1" };
  const mixed = nl.requestAll([
    deleteRouteRequest(route(1)),
    deleteRouteRequest(route(1)), // gone already: no error
    addRouteRequest(nowhere),
    addRouteRequest(route(1)),
    deleteRouteRequest(route(2)),
  ]);
  assert.deepEqual([...mixed].map(([i, { code }]) => [i, code]), [[2, "ENETUNREACH"]]);
  assert.deepEqual([destinations().includes("10.9.1.0/24"), destinations().length], [true, 63]);
  // As many errors as there can be: none is lost, and the socket is good for the next request.
  assert.equal(nl.requestAll(many.map(() => addRouteRequest(nowhere))).size, MOST_REQUESTS);
  assert.equal(nl.requestAll([]).size, 0);
  assert.equal(nl.link("br0")!.index, ifindex);
});

test("addRoute() takes onlink gateways, blackholes and tunnel metadata", (sandbox) => {
  const { nl } = sandbox.netns();
  nl.addLink({ kind: "vxlan", name: "vx0", vxlan: { external: true }, up: true });
  const ifindex = nl.link("vx0")!.index;
  nl.addAddr({ ifindex, address: "10.244.1.0", prefixLength: 32 });
  const route = { destination: "10.244.2.0/24", gateway: "10.244.2.0", ifindex };
  assert.throws(() => nl.addRoute(route), { code: "ENETUNREACH" });
  const encap = { id: 42, destination: "192.0.2.2" };
  nl.addRoute({ ...route, onlink: true, encap });
  const found = nl.routes().find(({ destination }) => destination === route.destination)!;
  assert.equal(found.onlink, true);
  assert.deepEqual(found.encap, encap);
  nl.addRoute({ destination: "10.3.0.0/16", type: "blackhole" });
  assert.throws(() => nl.routeTo("10.3.0.1"), { code: "EINVAL" });
});

test("RtNetlink adds and removes neighbours", (sandbox) => {
  const { nl } = sandbox.netns();
  nl.addLink({ kind: "bridge", name: "br0", up: true });
  const ifindex = nl.link("br0")!.index;
  const entry = { ifindex, address: "10.0.0.9", mac: "02:00:00:00:00:09" };
  nl.replaceNeigh(entry);
  nl.replaceNeigh({ ...entry, mac: "02:00:00:00:00:0a" });
  assert.deepEqual(nl.neighs(ifindex), [
    { ...entry, mac: "02:00:00:00:00:0a", state: NEIGH_STATE.PERMANENT },
  ]);
  assert.equal(nl.delNeigh(entry), true);
  assert.equal(nl.delNeigh(entry), false);
});

test("RtNetlink's fingerprints are others while a route or a neighbour is", async (sandbox) => {
  const { nl } = sandbox.netns();
  nl.addLink({ kind: "bridge", name: "br0", up: true });
  const ifindex = nl.link("br0")!.index;
  const entry = { ifindex, address: "10.0.0.9", mac: "02:00:00:00:00:09" };
  nl.replaceNeigh(entry);
  nl.addRoute({ destination: "10.9.0.0/16", ifindex });
  const neighs = nl.neighsFingerprint(ifindex), routes = nl.routesFingerprint();
  await new Promise((done) => setTimeout(done, 50)); // the kernel counts an entry's age in hundredths of a second
  assert.deepEqual([nl.neighsFingerprint(ifindex), nl.routesFingerprint()], [neighs, routes]);
  nl.replaceNeigh({ ...entry, mac: "02:00:00:00:00:0a" });
  assert.notEqual(nl.neighsFingerprint(ifindex), neighs);
  nl.replaceNeigh(entry);
  assert.equal(nl.neighsFingerprint(ifindex), neighs);
  nl.delNeigh(entry);
  assert.notEqual(nl.neighsFingerprint(ifindex), neighs);
  nl.replaceRoute({ destination: "10.9.0.0/16", ifindex, mtu: 1400 });
  assert.notEqual(nl.routesFingerprint(), routes);
  nl.replaceRoute({ destination: "10.9.0.0/16", ifindex });
  assert.equal(nl.routesFingerprint(), routes);
  nl.addRoute({ destination: "10.8.0.0/16", ifindex });
  assert.notEqual(nl.routesFingerprint(), routes);
});

test("RtMonitor reports links, addresses and device parameters as they change", async (sandbox) => {
  const { nl, path } = sandbox.netns();
  const events: string[] = [];
  await using monitor = new RtMonitor((batch) => events.push(...batch.map(show)), {
    netnsPath: path,
  });
  nl.addLink({ kind: "bridge", name: "br0" });
  const ifindex = nl.link("br0")!.index;
  nl.setLink(ifindex, { up: true });
  nl.addAddr({ ifindex, address: "10.0.0.1", prefixLength: 24 });
  writeSysctl("net.ipv4.conf.br0.rp_filter", "1", path);
  nl.delLink(ifindex);
  monitor.read();
  assert.ok(events.includes("link br0"));
  assert.ok(events.includes("link br0 up"));
  assert.ok(events.includes("address 10.0.0.1"));
  assert.ok(events.includes(`rp_filter of ${ifindex} 1`), events.join());
  assert.match(events.at(-1)!, /^link-gone br0/);
});

test("RtMonitor.run() delivers what happens later, in order, until close()", async (sandbox) => {
  const { nl, path } = sandbox.netns();
  const before = openFds();
  const gone = Promise.withResolvers<void>();
  const monitor = new RtMonitor((batch) => {
    if (batch.some(({ type }) => type === "link-gone")) gone.resolve();
  }, { netnsPath: path });
  const running = monitor.run();
  nl.addLink({ kind: "bridge", name: "br0" });
  nl.delLink(nl.link("br0")!.index);
  await gone.promise;
  await monitor.close();
  await monitor.close();
  await running;
  assert.deepEqual(openFds(), before);
});

test("RtMonitor reports that events were lost", (sandbox) => {
  const { nl, path } = sandbox.netns();
  const types: string[] = [];
  const monitor = new RtMonitor((batch) => types.push(...batch.map(({ type }) => type)), {
    netnsPath: path,
    buffer: 100_000,
  });
  sandbox.defer(() => monitor.close());
  nl.addLink({ kind: "bridge", name: "br0" });
  const ifindex = nl.link("br0")!.index;
  for (let i = 0; i < 2000; i++) nl.setLink(ifindex, { mtu: 1400 + i % 2 });
  monitor.read();
  assert.ok(types.includes("lost"));
});

function show(event: RtEvent): string {
  switch (event.type) {
    case "link":
    case "link-gone":
      return `${event.type} ${event.link.name}${event.link.up ? " up" : ""}`;
    case "address":
      return `address ${event.address.address}`;
    case "parameters":
      return `rp_filter of ${event.parameters.ifindex} ${event.parameters.rpFilter}`;
    default:
      return event.type;
  }
}
