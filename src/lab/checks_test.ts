import assert from "node:assert/strict";
import { planChecks } from "./checks.ts";
import { labServices, NODE_PORT, type PodAddress } from "./manifests.ts";
import { fillRows, judge } from "./matrix.ts";
import { DEFAULT_OPTIONS, planLab } from "./plan.ts";
import { ALL_ROWS } from "./rows.ts";

function lab(nodes: number, perNode: number) {
  const plan = planLab({ ...DEFAULT_OPTIONS, nodes, pods: perNode });
  const pods: PodAddress[] = plan.nodes.flatMap((node) =>
    node.pods.map((pod, i) => ({
      name: pod.name,
      node: node.name,
      address: `10.244.${node.index}.${i + 2}`,
    }))
  );
  const all = planChecks(plan, pods, labServices(plan, pods));
  /** What is asked, as `source → target`. */
  const asked = (title: string, kind = "tcp") =>
    all.filter(({ row }) => row.title === title && row.kind === kind)
      .map(({ source, target }) => `${source} → ${target}`);
  return { all, asked };
}

Deno.test("planChecks() fills every row", () => {
  const { all } = lab(2, 2);
  for (const row of ALL_ROWS) {
    assert.ok(all.some((check) => check.row === row), `${row.title} ${row.kind}`);
  }
});

Deno.test("planChecks() asks for each pair of pods on a node, in both directions", () => {
  assert.equal(lab(2, 3).asked("pod → pod, same node").length, 2 * 3 * 2);
});

Deno.test("planChecks() asks one pod of each other node, so that all directions are tried", () => {
  const { asked } = lab(3, 2);
  assert.deepEqual(asked("pod → pod, other node").filter((path) => path.startsWith("pod1-2")), [
    "pod1-2 → pod2-2",
    "pod1-2 → pod3-2",
  ]);
  assert.deepEqual(asked("host → pod, other node", "ping").slice(0, 2), [
    "node1 → pod2-1",
    "node1 → pod3-1",
  ]);
});

Deno.test("planChecks() asks every node from outside, for backends there and elsewhere", () => {
  assert.deepEqual(lab(2, 1).asked("outside → NodePort", "udp"), [
    "outside → service echo-node1 by node1",
    "outside → service echo-node2 by node1",
    "outside → service echo-node1 by node2",
    "outside → service echo-node2 by node2",
  ]);
});

Deno.test("planChecks() wants the policy Local to keep to the pods of the node that is asked", () => {
  const local = lab(2, 2).all
    .filter(({ row }) => row.title === "outside → NodePort, policy Local" && row.kind === "tcp");
  assert.deepEqual(local.map(({ expect }) => expect), [["pod1-1", "pod1-2"], ["pod2-1", "pod2-2"]]);
  assert.ok(local.every(({ seenAs, probe }) => !seenAs && probe.port === NODE_PORT + 1));
});

Deno.test("planChecks() asks a node's own NodePort by loopback too", () => {
  assert.deepEqual(lab(2, 1).asked("host → NodePort").slice(0, 3), [
    "node1 → service nodeport by loopback",
    "node1 → service nodeport by node1",
    "node1 → service nodeport by node2",
  ]);
});

Deno.test("planChecks() asks nothing of a lab without pods, and no pairs of a single pod", () => {
  assert.deepEqual(lab(2, 0).all, []);
  const answer = { ms: 0.1, answers: [{ name: "pod1-1" }] };
  const rows = fillRows(lab(1, 1).all.map((check) => ({ check, cell: judge(check, answer) })));
  for (const title of ["pod → pod, same node", "pod → pod, other node"]) {
    assert.equal(rows.find((row) => row.title === title)?.status, "no pair");
  }
});
