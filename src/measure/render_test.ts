import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { flaw, readReport, renderReport } from "./render.ts";
import { CURVE, measure, OVER_TIME, report } from "./test_support.ts";

Deno.test("renderReport() writes from a saved file what it writes from the report itself", () => {
  const folder = mkdtempSync(join(tmpdir(), "pcnk-render-"));
  try {
    const made = report([measure(), OVER_TIME, CURVE]);
    writeFileSync(join(folder, "r.json"), JSON.stringify(made));
    renderReport(made, join(folder, "a"));
    renderReport(readReport(join(folder, "r.json")), join(folder, "b"));
    const names = readdirSync(join(folder, "a")).sort();
    assert.deepEqual(names, ["curve.svg", "report.md", "throughput.svg", "time.svg"]);
    for (const name of names) {
      const [a, b] = ["a", "b"].map((each) => readFileSync(join(folder, each, name), "utf8"));
      assert.equal(a, b, name);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

Deno.test("readReport() names the file that is not there or not JSON", () => {
  assert.throws(() => readReport("/nowhere/r.json"), /^Error: \/nowhere\/r\.json is not there$/);
});

Deno.test("flaw() says what is wrong with a report", () => {
  assert.equal(flaw(report([measure()])), undefined);
  for (
    const [value, wrong] of [
      [null, /"format"/],
      [{ ...report([]), format: "pcnk-bench/2" }, /"format"/],
      [{ ...report([]), measures: {} }, /"measures"/],
      [report([{ ...measure(), plot: "pie" as "bars" }]), /measures\[0\]\.plot/],
      [
        report([measure(), measure({ lines: [{ contender: "a", path: "b" } as never] })]),
        /measures\[1\]\.lines\[0\]/,
      ],
    ] as const
  ) assert.match(flaw(value) ?? "", wrong);
});
