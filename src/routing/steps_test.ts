import assert from "node:assert/strict";
import { diffRouting } from "./diff.ts";
import { emptyPlan, planRouting } from "./plan.ts";
import { describeStep } from "./steps.ts";
import { bareKernel, follow, input, node, settings } from "./test_support.ts";

Deno.test("describeStep() says each step in words", () => {
  const overlay = { ...settings().overlay, checksumOffload: false };
  const nodes = [node(1), node(2), node(3)];
  const first = diffRouting(
    planRouting(input(nodes, { settings: settings({ overlay }) })),
    bareKernel(),
  ).steps;
  const kernel = follow(bareKernel(), first);
  const direct = planRouting(input(nodes, { settings: settings({ routing: "direct" }) }));
  const steps = [
    ...first,
    ...diffRouting(direct, kernel).steps,
    ...diffRouting(emptyPlan(), kernel).steps,
  ];
  for (const step of steps) assert.match(describeStep(step), /^[a-z]+ .*[^: ]$/);
  const texts = new Set(steps.map(describeStep));
  for (
    const text of [
      "create device pcnk_vxlan: VXLAN, UDP port 4789, MAC 02:70:c0:a8:32:0b, MTU 1450",
      "turn checksum offload of the overlay device off",
      "add route 10.244.1.0/24 unreachable (behind the bridge's)",
      "add route 10.244.2.0/24 through the tunnel to 192.168.50.12",
      "replace route by 10.244.2.0/24 via 192.168.50.12",
      "send pods' packets for 10.244.2.0/24 to 192.168.50.12 (direct)",
      "delete device pcnk_vxlan: no overlay is wanted",
    ]
  ) assert.ok(texts.has(text), text);
});
