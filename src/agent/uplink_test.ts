import assert from "node:assert/strict";
import type { Link, Route } from "../linux/rtnetlink.ts";
import { findUplink } from "./uplink.ts";

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
function node(names: string[], routes: string[]) {
  return {
    links: () => [link(1, "lo", true), ...names.map((name, i) => link(i + 2, name))],
    routes: (): Route[] =>
      routes.map((text) => {
        const [destination = "", ifindex, metric] = text.split(" ");
        return { destination, ifindex: Number(ifindex), metric: Number(metric ?? 0) };
      }),
    addrs: (ifindex?: number) => [
      { ifindex: ifindex!, address: "169.254.0.1", prefixLength: 16, scope: 253 },
      { ifindex: ifindex!, address: `192.0.2.${ifindex}`, prefixLength: 24, scope: 0 },
    ],
  };
}

Deno.test("findUplink() takes the default route with the lowest metric", () => {
  const nl = node(["eth0", "eth1"], ["10.0.0.0/8 2", "0.0.0.0/0 2 600", "0.0.0.0/0 3 100"]);
  assert.deepEqual(findUplink(nl), { ifindex: 3, name: "eth1", address: "192.0.2.3" });
});

Deno.test("findUplink() takes a device that is named, with a default route or without", () => {
  const nl = node(["eth0", "eth1"], ["0.0.0.0/0 2"]);
  assert.equal(findUplink(nl, "eth1")?.name, "eth1");
});

Deno.test("findUplink() finds none without a default route", () => {
  assert.equal(findUplink(node(["eth0"], ["10.0.0.0/8 2"])), undefined);
});

Deno.test("findUplink() says which devices there are when the named one is not there", () => {
  assert.throws(
    () => findUplink(node(["eth0", "eth1"], []), "eth7"),
    new Error("uplink eth7: there is no such device; there are: eth0, eth1"),
  );
});
