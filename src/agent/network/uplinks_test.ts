import assert from "node:assert/strict";
import type { Link, Route } from "../../linux/rtnetlink.ts";
import type { Address } from "../../linux/rtnl_addr.ts";
import { checkUplinks, findDevices, masqueradeAddress } from "./uplinks.ts";

const link = (index: number, name: string, loopback = false): Link => ({
  index,
  name,
  mac: "",
  mtu: 1500,
  up: true,
  running: true,
  loopback,
});

/** A node with these devices, routes as `destination ifindex metric`, and 192.0.2.IFINDEX on each device. */
function node(names: string[], routes: string[], more: Address[] = []) {
  const links = [link(1, "lo", true), ...names.map((name, i) => link(i + 2, name))];
  return {
    links: () => links,
    routes: (): Route[] =>
      routes.map((text) => {
        const [destination = "", ifindex, metric] = text.split(" ");
        return { destination, ifindex: Number(ifindex), metric: Number(metric ?? 0) };
      }),
    addrs: (): Address[] => [
      { ifindex: 1, address: "127.0.0.1", prefixLength: 8, scope: 254 },
      ...links.slice(1).flatMap(({ index: ifindex }) => [
        { ifindex, address: "169.254.0.1", prefixLength: 16, scope: 253 },
        { ifindex, address: `192.0.2.${ifindex}`, prefixLength: 24, scope: 0 },
      ]),
      ...more,
    ],
  };
}

const names = (...args: Parameters<typeof findDevices>) =>
  findDevices(...args).uplinks.map(({ name }) => name);

Deno.test("findDevices() takes the devices of all default routes, the best one's first", () => {
  const nl = node(["eth0", "eth1", "eth2"], ["10.0.0.0/8 4", "0.0.0.0/0 2 600", "0.0.0.0/0 3 100"]);
  const { uplinks } = findDevices(nl, {});
  assert.deepEqual(uplinks, [
    {
      ifindex: 3,
      name: "eth1",
      mtu: 1500,
      addresses: [{ address: "192.0.2.3", prefixLength: 24 }],
    },
    {
      ifindex: 2,
      name: "eth0",
      mtu: 1500,
      addresses: [{ address: "192.0.2.2", prefixLength: 24 }],
    },
  ]);
});

Deno.test("findDevices() takes the device with the node's InternalIP, too, once", () => {
  const nl = node(["eth0", "eth1"], ["0.0.0.0/0 2", "0.0.0.0/0 2 50"]);
  assert.deepEqual(names(nl, { internalIPs: ["192.0.2.3"] }), ["eth0", "eth1"]);
  assert.deepEqual(names(nl, { internalIPs: ["192.0.2.2"] }), ["eth0"]);
});

Deno.test("findDevices() takes those that are named, with a default route or without", () => {
  const nl = node(["eth0", "eth1"], ["0.0.0.0/0 2"]);
  assert.deepEqual(names(nl, { names: ["eth1"], internalIPs: ["192.0.2.2"] }), ["eth1"]);
  assert.deepEqual(names(nl, { names: ["eth1", "eth0"] }), ["eth1", "eth0"]);
  const { uplinks, missing } = findDevices(nl, { names: ["eth7", "eth0"] });
  assert.deepEqual([uplinks.length, missing], [1, ["eth7"]]);
});

Deno.test("findDevices() finds no uplink without a default route, nor the loopback", () => {
  const service: Address = { ifindex: 1, address: "198.51.100.1", prefixLength: 32, scope: 0 };
  const nl = node(["eth0"], ["10.0.0.0/8 2"], [service]);
  assert.deepEqual(names(nl, { internalIPs: ["198.51.100.1"] }), []);
});

Deno.test("findDevices() knows every address of the node, but those of the loopback", () => {
  const more = [
    { ifindex: 1, address: "198.51.100.1", prefixLength: 32, scope: 0 },
    { ifindex: 3, address: "10.244.1.1", prefixLength: 24 },
  ];
  const { addresses } = findDevices(node(["eth0", "pcnk0"], ["0.0.0.0/0 2"], more), {});
  assert.deepEqual(addresses, ["169.254.0.1", "192.0.2.2", "192.0.2.3", "10.244.1.1"]);
});

Deno.test("checkUplinks() says which devices there are when a named one is not there", () => {
  const nl = node(["eth0", "eth1"], []);
  checkUplinks(nl, undefined);
  checkUplinks(nl, ["eth1", "eth0"]);
  assert.throws(
    () => checkUplinks(nl, ["eth0", "eth7"]),
    new Error("uplink eth7: there is no such device; there are: eth0, eth1"),
  );
});

Deno.test("masqueradeAddress() is the InternalIP where the uplink has it, else its own first", () => {
  const uplink = (...addresses: string[]) => ({
    ifindex: 2,
    name: "eth0",
    mtu: 1500,
    addresses: addresses.map((address) => ({ address, prefixLength: 24 })),
  });
  const internal = ["192.0.2.9"];
  assert.equal(masqueradeAddress(uplink("192.0.2.2", "192.0.2.9"), internal), "192.0.2.9");
  assert.equal(masqueradeAddress(uplink("192.0.2.2", "192.0.2.3"), internal), "192.0.2.2");
  assert.equal(masqueradeAddress(uplink(), internal), "192.0.2.9");
  assert.equal(masqueradeAddress(uplink(), []), "0.0.0.0");
});
