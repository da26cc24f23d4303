import assert from "node:assert/strict";
import { labServices, type PodAddress } from "./manifests.ts";
import { type Check, planChecks } from "./checks.ts";
import { fillRows, hint, judge } from "./matrix.ts";
import { DEFAULT_OPTIONS, planLab } from "./plan.ts";
import type { ProbeResult } from "./probe.ts";

function lab(nodes: number, perNode: number) {
  const plan = planLab({ ...DEFAULT_OPTIONS, nodes, pods: perNode });
  const pods: PodAddress[] = plan.nodes.flatMap((node) =>
    node.pods.map((pod, i) => ({
      name: pod.name,
      node: node.name,
      address: `10.244.${node.index}.${i + 2}`,
    }))
  );
  return { plan, pods, checks: planChecks(plan, pods, labServices(plan, pods)) };
}

function find(checks: Check[], title: string, kind: string): Check {
  const check = checks.find(({ row }) => row.title === title && row.kind === kind);
  assert.ok(check, `${title} ${kind}`);
  return check;
}

const answer: ProbeResult = { ms: 0.1, answers: [{ name: "pod1-1" }] };
const failed = (code: string, afterMs = 3): ProbeResult => ({
  answers: [],
  error: { code, text: `connect: ${code}`, afterMs },
});

Deno.test("judge() takes an answer of an expected backend for right", () => {
  const { checks } = lab(1, 2);
  const check = find(checks, "pod → ClusterIP", "tcp");
  assert.deepEqual(judge(check, answer), {
    source: "pod1-1",
    target: "service echo-node1",
    ok: true,
    ms: 0.1,
  });
});

Deno.test("judge() tells a wrong backend and a changed client address", () => {
  const { checks } = lab(1, 2);
  const check = find(checks, "pod → ClusterIP", "tcp");
  const wrong = judge(check, { ...answer, answers: [{ name: "pod1-1" }, { name: "pod9-9" }] });
  assert.equal(wrong.ok, false);
  assert.equal(wrong.reason, "wrong backend answered: pod9-9, not pod1-1 or pod1-2");
  const seenAs = "10.244.1.1:5000";
  assert.equal(judge(check, { ...answer, answers: [{ name: "pod1-1", seenAs }] }).ok, true);
  const masked = judge(check, { ...answer, answers: [{ name: "pod1-2", seenAs }] });
  assert.equal(masked.reason, "pod1-2 saw the client as 10.244.1.1");
});

Deno.test("judge() wants pods outside to be seen as their node, and not as themselves", () => {
  const { checks } = lab(1, 1);
  const check = find(checks, "pod → outside", "udp");
  const seen = (seenAs?: string) =>
    judge(check, { ...answer, answers: [{ name: "outside", ...(seenAs && { seenAs }) }] });
  assert.equal(seen("192.168.50.11:1024").ok, true);
  assert.equal(
    seen("192.168.50.12:1024").reason,
    "outside saw the client as 192.168.50.12, not as 192.168.50.11",
  );
  assert.equal(seen().reason, "outside saw the client as itself, not as 192.168.50.11");
});

Deno.test("judge() wants a NodePort's client to be seen as itself but by backends elsewhere", () => {
  const { checks } = lab(2, 1);
  const asked = (target: string, name: string, seenAs?: string) => {
    const check = checks.find(({ row, target: to }) =>
      row.title === "outside → NodePort" && row.kind === "tcp" && to === target
    );
    return judge(check!, { ...answer, answers: [{ name, ...(seenAs && { seenAs }) }] });
  };
  assert.equal(asked("service echo-node1 by node1", "pod1-1").ok, true);
  assert.equal(asked("service echo-node1 by node1", "pod1-1", "10.244.1.1:99").short, "address");
  assert.equal(asked("service echo-node2 by node1", "pod2-1", "10.244.1.1:99").ok, true);
  assert.equal(asked("service echo-node2 by node1", "pod2-1").short, "address");
});

Deno.test("judge() gives a reason for every failure", () => {
  const { checks } = lab(1, 2);
  const tcp = find(checks, "pod → ClusterIP", "tcp");
  const udp = find(checks, "pod → ClusterIP", "udp");
  const cases: [Check, string, string, RegExp][] = [
    [tcp, "TIMEOUT", "timeout", /timeout after 10 s/],
    [tcp, "ECONNREFUSED", "refused", /TCP reset/],
    [udp, "ECONNREFUSED", "refused", /ICMP port unreachable/],
    [tcp, "EHOSTUNREACH", "no route", /no route to host/],
    [tcp, "EMFILE", "failed", /connect: EMFILE/],
  ];
  for (const [check, code, short, reason] of cases) {
    const cell = judge(check, failed(code));
    assert.equal(cell.ok, false);
    assert.equal(cell.short, short);
    assert.match(cell.reason!, reason);
  }
});

Deno.test("judge() wants a service with no backends to refuse, and promptly", () => {
  const { checks } = lab(1, 1);
  const check = find(checks, "pod → service with no backends", "udp");
  assert.equal(judge(check, failed("ECONNREFUSED")).ok, true);
  assert.match(judge(check, failed("ECONNREFUSED", 900)).reason!, /only after 900 ms/);
  assert.match(judge(check, failed("TIMEOUT", 1000)).reason!, /timeout.*instead of a port unr/);
  assert.match(judge(check, answer).reason!, /pod1-1 answered instead/);
});

Deno.test("hint() names the dead server before the dead agent", () => {
  const { checks, pods } = lab(1, 2);
  const check = find(checks, "pod → ClusterIP", "tcp");
  const none = { deadAgents: [], deadServers: [] };
  assert.equal(hint(check, pods, none), undefined);
  assert.match(hint(check, pods, { ...none, deadAgents: ["node1"] })!, /agent of node1/);
  const dead = { deadAgents: ["node1"], deadServers: ["pod1-2"] };
  assert.match(hint(check, pods, dead)!, /server in pod1-2/);
  const ping = find(checks, "pod → gateway", "ping");
  assert.equal(hint(ping, pods, dead), undefined);
});

Deno.test("fillRows() marks a row with one red cell as failed", () => {
  const { checks } = lab(1, 2);
  const rows = fillRows(checks.map((check, i) => ({
    check,
    cell: judge(
      check,
      i === 0 ? failed("TIMEOUT") : check.expect === "refused" ? failed("ECONNREFUSED") : answer,
    ),
  })));
  assert.equal(rows[0]?.status, "failed");
  assert.ok(rows.some((row) => row.status === "ok"));
});
