import assert from "node:assert/strict";
import type { RoutingNode } from "./types.ts";
import { tunnelSources } from "./vteps.ts";

function node(name: string, internalIPs: string[], publicIP?: string): RoutingNode {
  return { name, internalIPs, podCIDRs: [], ...(publicIP === undefined ? {} : { publicIP }) };
}

Deno.test("tunnelSources() holds every address of the other nodes, and what a NAT makes of it", () => {
  const nodes = [
    node("node1", ["192.0.2.11"], "203.0.113.1"),
    node("node2", ["192.0.2.12", "198.51.100.12"]),
    node("node3", ["10.0.0.3"], "203.0.113.3"),
  ];
  assert.deepEqual([...tunnelSources(nodes, "node1")], [
    "192.0.2.12",
    "198.51.100.12",
    "10.0.0.3",
    "203.0.113.3",
  ]);
});

Deno.test("tunnelSources() leaves out what is no address", () => {
  const nodes = [node("node2", ["fd00::1", "192.0.2.12"], "everywhere")];
  assert.deepEqual([...tunnelSources(nodes, "node1")], ["192.0.2.12"]);
});
