import assert from "node:assert/strict";
import { planReservation, PortSet } from "./reserved_ports.ts";

const local = { first: 32768, last: 60999 };
const none = PortSet.parse("");

function plan(first: number, last: number, range = local, reserved = "", own = "") {
  const ranges = {
    snatPorts: { first, last },
    serviceNodePortRange: { first: 30000, last: 32767 },
  };
  const done = planReservation(ranges, range, PortSet.parse(reserved), PortSet.parse(own));
  return [`${done.reserved}`, `${done.own}`];
}

Deno.test("PortSet reads and writes ports as the kernel does", () => {
  assert.equal(`${PortSet.parse("80,1000-1002,\n")}`, "80,1000-1002");
  assert.equal(`${PortSet.parse("3,1,2,9")}`, "1-3,9");
  assert.equal(`${none}`, "");
});

Deno.test("planReservation() reserves nothing while the ranges do not meet", () => {
  assert.deepEqual(plan(1024, 29999), ["", ""]);
  assert.deepEqual(plan(1024, 29999, local, "8080"), ["8080", ""]);
});

Deno.test("planReservation() reserves what both may take, beside what others reserved", () => {
  assert.deepEqual(plan(1024, 29999, { first: 1024, last: 65535 }, "50000"), [
    "1024-32767,50000",
    "1024-32767",
  ]);
  assert.deepEqual(plan(40000, 40999, local, "40500-40501,8080"), [
    "8080,40000-40999",
    "40000-40499,40502-40999",
  ]);
});

Deno.test("planReservation() takes back what it reserved for another range", () => {
  const before = "8080,40000-40999";
  assert.deepEqual(plan(41000, 41009, local, before, "40000-40999"), [
    "8080,41000-41009",
    "41000-41009",
  ]);
  assert.deepEqual(plan(1024, 29999, local, before, "40000-40999"), ["8080", ""]);
});

Deno.test("planReservation() leaves the node's own connections some ports", () => {
  assert.throws(() => plan(1024, 60000), /would leave .* 999 ports .*\(32768-60999\)/);
  assert.deepEqual(plan(1024, 59975), ["32768-59975", "32768-59975"]);
  assert.throws(() => plan(1024, 59975, local, "60000"), /would leave .* 1023 ports/);
});

Deno.test("planReservation() reserves no NodePorts where that would leave too few ports", () => {
  const ranges = {
    snatPorts: { first: 1024, last: 1999 },
    serviceNodePortRange: { first: 2000, last: 65000 },
  };
  const plan = planReservation(ranges, { first: 1024, last: 65535 }, none, none);
  assert.equal(`${plan.reserved}`, "1024-1999");
});
