import assert from "node:assert/strict";
import { checkCount, checkLabName, DEFAULT_OPTIONS, planLab, planPod } from "./plan.ts";

Deno.test("planLab() gives every node names and addresses of its own", () => {
  const plan = planLab({ ...DEFAULT_OPTIONS, nodes: 16, pods: 32 });
  const values = plan.nodes.flatMap((node) => [
    ...[node.name, node.netns, node.address, node.podCIDR, node.gateway, node.dir, node.cgroup],
    ...node.pods.flatMap((pod) => [pod.name, pod.netns]),
  ]);
  assert.equal(new Set(values).size, values.length);
  assert.equal(plan.nodes[0]?.address, "192.168.50.11");
  assert.equal(plan.nodes[15]?.address, "192.168.50.26");
  assert.equal(plan.nodes[1]?.podCIDR, "10.244.2.0/24");
  assert.equal(plan.nodes[1]?.pods[0]?.netns, "pcnk-lab-pod2-1");
});

Deno.test("planLab() keeps device names within IFNAMSIZ", () => {
  const plan = planLab({ ...DEFAULT_OPTIONS, name: "a23456789012345", nodes: 16 });
  for (const node of plan.nodes) assert.ok(node.port.length <= 15);
  assert.ok(plan.fabric.bridge.length <= 15);
});

Deno.test("planLab() leaves room for the tunnel in the pods' MTU, and only then", () => {
  assert.equal(planLab(DEFAULT_OPTIONS).podMtu, 1450);
  assert.equal(planLab({ ...DEFAULT_OPTIONS, routing: "direct" }).podMtu, undefined);
});

Deno.test("planLab() puts the machine outside behind the fabric, under the lab's names", () => {
  const { outside, fabric } = planLab({ ...DEFAULT_OPTIONS, name: "x1" });
  assert.equal(outside.netns, "pcnk-x1-outside");
  assert.equal(outside.cgroup, "pcnk-x1/outside");
  assert.notEqual(outside.gateway, fabric.gateway);
});

Deno.test("planLab() refuses what is out of range", () => {
  const bad = [
    { nodes: 0 },
    { nodes: 17 },
    { nodes: 1.5 },
    { nodes: NaN },
    { pods: -1 },
    { pods: 33 },
    { name: "" },
    { name: "t" },
    { name: "a-b" },
    { name: "../../etc" },
    { name: "Lab" },
    { name: "1ab" },
    { name: "a".repeat(16) },
  ];
  for (const change of bad) {
    assert.throws(() => planLab({ ...DEFAULT_OPTIONS, ...change }), RangeError);
  }
});

Deno.test("checkCount() takes whole numbers within the bounds and nothing else", () => {
  assert.equal(checkCount("--nodes", "16", 1, 16), 16);
  assert.equal(checkCount("--pods", 0, 0, 32), 0);
  for (const text of ["", "0x1", "1e1", " 1", "-1", "17", "9999999", "1.0"]) {
    assert.throws(
      () => checkCount("--nodes", text, 1, 16),
      /^RangeError: --nodes must be a whole number from 1 to 16$/,
    );
  }
});

Deno.test("checkLabName() says what is allowed", () => {
  assert.throws(
    () => checkLabName("x/y"),
    /the lab's name "x\/y" must be 2 to 15 of a-z and 0-9, a letter first/,
  );
});

Deno.test("planPod() refuses names that the lab uses itself", () => {
  for (const name of ["net", "outside", "node1", "", "a/b", "../x", "UP"]) {
    assert.throws(() => planPod("lab", "node1", name), /bad pod name/);
  }
  assert.equal(planPod("lab", "node1", "client").netns, "pcnk-lab-client");
});
