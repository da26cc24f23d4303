import assert from "node:assert/strict";
import type { Cell, RowResult } from "./matrix.ts";
import { formatMs, renderReport, summarize } from "./report.ts";
import { columns, painter, widthOf } from "../view/terminal.ts";

const plain = painter(false);
const sources = {
  nodes: ["node1"],
  pods: [{ name: "pod1-1", node: "node1" }, { name: "pod1-2", node: "node1" }],
  others: ["outside"],
};
const ok = (source: string, target: string, ms: number): Cell => ({ source, target, ok: true, ms });
const rows: RowResult[] = [
  {
    title: "node → pod",
    protocol: "TCP",
    status: "ok",
    cells: [ok("node1", "pod1-1", 0.05), ok("node1", "pod1-2", 0.07)],
  },
  {
    title: "pod → ClusterIP",
    protocol: "UDP",
    status: "failed",
    cells: [ok("pod1-1", "service echo-node1", 12.3), {
      source: "pod1-2",
      target: "service echo-node1",
      ok: false,
      short: "timeout",
      reason: "timeout after 1 s",
      hint: "the agent of node1 is not running",
    }],
  },
  { title: "pod → outside", protocol: "TCP", status: "no pair", cells: [] },
];

Deno.test("renderReport() has a column for each source when there is room", () => {
  assert.equal(
    renderReport(summarize(rows), sources, 80, plain),
    `from → to             node1    pod1-1  pod1-2
node → pod       TCP  0.07 ms
pod → ClusterIP  UDP           12 ms   ✗ timeout
pod → outside    TCP  no pair

✗ pod → ClusterIP, UDP: timeout after 1 s
  pod1-2 → service echo-node1
  hint: the agent of node1 is not running

3 passed, 1 failed
`,
  );
});

Deno.test("renderReport() has a column for who is no node and no pod, once it asks", () => {
  const row: RowResult = {
    title: "outside → NodePort",
    protocol: "TCP",
    status: "ok",
    cells: [ok("outside", "service nodeport by node1", 0.3)],
  };
  for (const width of [80, 48]) {
    const [head, , , , last] = renderReport(summarize([...rows, row]), sources, width, plain)
      .split("\n");
    assert.match(head!, /outside$/);
    assert.match(last!, /^outside → NodePort +TCP +0\.30 ms$/);
  }
});

Deno.test("renderReport() joins columns when the room is short", () => {
  const [head, , failed] = renderReport(summarize(rows), sources, 40, plain).split("\n");
  assert.equal(head, "from → to             node1");
  assert.equal(failed, "pod → ClusterIP  UDP  ✗ timeout 1/2");
});

Deno.test("renderReport() joins what has one reason and does not list without end", () => {
  const red = rows[1]!.cells[1]!;
  const one: RowResult = { ...rows[1]!, cells: Array.from({ length: 30 }, () => red) };
  const joined = renderReport(summarize([one]), sources, 80, plain);
  assert.equal(joined.match(/^✗/gm)?.length, 1);
  assert.match(joined, /echo-node1 and 22 more\n {2}hint:/);
  const many = Array.from({ length: 30 }, (_, i) => ({ ...red, reason: `reason ${i}` }));
  const text = renderReport(summarize([{ ...rows[1]!, cells: many }]), sources, 80, plain);
  assert.equal(text.match(/^✗/gm)?.length, 20);
  assert.match(text, /… and 10 more; -o json lists all/);
});

Deno.test("columns() counts what is seen, not the escape codes", () => {
  const paint = painter(true);
  assert.equal(widthOf(paint("red", "✗ x")), 3);
  const [first, second] = columns([[paint("green", "ab"), "x"], ["abcd", "y"]]);
  assert.equal(first, `${paint("green", "ab")}    x`);
  assert.equal(second, "abcd  y");
});

Deno.test("formatMs() shows small times with two digits", () => {
  assert.equal(formatMs(0.0712), "0.07 ms");
  assert.equal(formatMs(123.4), "123 ms");
});
