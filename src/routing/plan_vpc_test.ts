import { deepEqual, equal, match } from "node:assert/strict";
import { planRouting } from "./plan.ts";
import { input, node } from "./test_support.ts";

const aws = { vpcMode: "aws" as const };

/** How n1 reaches the others, and its routes to them. */
function ways(nodes: Parameters<typeof input>[0], vpcRoutes?: string[]) {
  const plan = planRouting(
    input(nodes, vpcRoutes === undefined ? {} : { vpcRoutes: new Set(vpcRoutes) }),
  );
  return {
    plan,
    peers: plan.peers.map(({ node, mode, nodeAddr }) => `${node} ${mode} ${nodeAddr}`),
  };
}

Deno.test("planRouting() sends to nodes of the VPC by its router, without a tunnel", () => {
  const { plan, peers } = ways([node(1, aws), node(2, aws), node(3)], [
    "10.244.1.0/24",
    "10.244.2.0/24",
  ]);
  deepEqual(peers, ["n2 vpc 192.168.50.1", "n3 overlay 192.168.50.13"]);
  deepEqual(plan.routes.find(({ destination }) => destination === "10.244.2.0/24"), {
    type: "direct",
    destination: "10.244.2.0/24",
    gateway: "192.168.50.1",
    ifindex: 2,
  });
  deepEqual(plan.remotes[0], {
    prefix: "10.244.2.0/24",
    mode: "direct",
    nodeAddr: "192.168.50.1",
    mac: "00:00:00:00:00:00",
  });
  equal(plan.neighbours.length, 1, "of n3 only");
});

Deno.test("planRouting() keeps the tunnel where the VPC does not lead, where one end is not in it, and without an uplink", () => {
  const routed = ["10.244.2.0/24"];
  const mode = (...args: Parameters<typeof ways>) => ways(...args).peers[0];
  equal(mode([node(1, aws), node(2, aws)]), "n2 overlay 192.168.50.12");
  equal(mode([node(1, aws), node(2, aws)], ["10.244.20.0/24"]), "n2 overlay 192.168.50.12");
  equal(mode([node(1), node(2, aws)], routed), "n2 overlay 192.168.50.12");
  equal(mode([node(1, aws), node(2)], routed), "n2 overlay 192.168.50.12");
  const { peers: [peer] } = planRouting(input([node(1, aws), node(2, aws)]));
  match(peer!.reason, /^the VPC has no route to the podCIDR of n2 \(yet\); /);
  const away = node(1, { ...aws, internalIPs: ["203.0.113.9"] });
  equal(ways([away, node(2, aws)], routed).peers[0], "n2 overlay 192.168.50.12");
});
