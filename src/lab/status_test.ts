import assert from "node:assert/strict";
import { type LabStatus, renderStatus } from "./status.ts";
import { painter } from "../view/terminal.ts";

const status: LabStatus = {
  name: "lab",
  phase: "up",
  startedAt: "2026-11-21T00:00:00.000Z",
  nodes: [{
    name: "node1",
    address: "192.168.50.11",
    podCIDR: "10.244.1.0/24",
    agent: 4711,
    ready: true,
    attach: "auto",
    routing: "overlay",
  }],
  pods: [{
    name: "pod1-1",
    node: "node1",
    address: "10.244.1.2",
    veth: "veth0a1b2c3d",
    attached: "clsact",
    server: null,
  }],
  outside: { name: "outside", address: "198.51.100.10", server: 4712 },
};

Deno.test("renderStatus() shows nodes and pods as tables", () => {
  assert.equal(
    renderStatus(status, painter(false)),
    `NODE   ADDRESS        PODCIDR        AGENT     READY  ATTACH  ROUTING
node1  192.168.50.11  10.244.1.0/24  pid 4711  yes    auto    overlay

POD     NODE   ADDRESS     VETH          ATTACHED  SERVER
pod1-1  node1  10.244.1.2  veth0a1b2c3d  clsact    not running

MACHINE  ADDRESS        SERVER
outside  198.51.100.10  pid 4712
`,
  );
});

Deno.test("renderStatus() says when a lab is not whole", () => {
  assert.match(renderStatus({ ...status, phase: "starting" }, painter(false)), /not whole/);
});
