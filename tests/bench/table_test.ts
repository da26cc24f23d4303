import assert from "node:assert/strict";
import { absoluteResult, type Result } from "./result.ts";
import { markdownTable, textTable } from "./table.ts";

const results: Result[] = [
  absoluteResult({ measure: "a", id: "a", title: "RR ÷ plain", bar: { op: "<=", value: 1 } }, "×", [
    0.9,
  ]),
  absoluteResult(
    { measure: "a", id: "b", title: "memory | idle", bar: { op: "<=", value: 90 } },
    "MB",
    [
      120,
    ],
  ),
];

Deno.test("textTable() aligns its columns and leaves no trailing blanks", () => {
  assert.equal(
    textTable(results),
    [
      "measure        figure  half of the runs  bar        verdict  runs  medians",
      "RR ÷ plain     0.900   0.900..0.900      ≤ 1.00     met      1",
      "memory | idle  120 MB  120..120 MB       ≤ 90.0 MB  missed   1",
    ].join("\n"),
  );
});

Deno.test("markdownTable() escapes bars and shows what was missed in bold", () => {
  const lines = markdownTable(results).split("\n");
  assert.equal(lines.length, 4);
  assert.equal(
    lines[3],
    "| memory \\| idle | 120 MB | 120..120 MB | ≤ 90.0 MB | **missed** | 1 |  |",
  );
});
