import assert from "node:assert/strict";
import { markdownReport } from "./markdown.ts";
import { plots } from "./plot/plots.ts";
import type { Line, Measure } from "./report.ts";
import { around, CURVE, EVIL, HOSTILE, measure, OVER_TIME, report } from "./test_support.ts";

const text = (measures: Measure[], change = {}) => {
  const made = report(measures, change);
  return markdownReport(made, plots(made));
};
const two = (own: number[], peer: number[], better: "higher" | "lower" = "higher") =>
  text([
    measure({
      better,
      lines: [["pcnk", own], ["nft", peer]].map(([contender, samples]) =>
        ({ contender, path: "p", points: [{ samples }] }) as Line
      ),
    }),
  ]);

Deno.test("markdownReport() tells machine, options, median, halves, range and ratio", () => {
  const made = text([measure()]);
  assert.match(made, /^\| cpu \| 2 × CPU \|$/m);
  assert.match(made, /^\| tools\.sockperf \| – \|$/m);
  assert.match(made, /^\| rounds \| 5 \|$/m);
  assert.match(made, /^!\[TCP throughput\]\(throughput\.svg\)$/m);
  assert.ok(
    made.includes(
      "| pod→pod same node | nft | 28.0 Gbit/s | 25.2 … 30.8 | 22.4 … 33.6 | 5 | 1.43 better |",
    ),
    made,
  );
  assert.match(made, /pcnk is behind in none of 6 comparisons\./);
  assert.match(text([OVER_TIME]), /\| nft \| .* \| 20 \| 1\.43 better \(close\) \|$/m);
  assert.match(text([OVER_TIME]), /\| half of the samples \| all samples \| samples \|/);
});

Deno.test("markdownReport() says in bold where pcnk is behind, and in the list at the top", () => {
  const made = two(around(5), around(10));
  assert.match(made, /\| \*\*0\.50 worse\*\* \|$/m);
  assert.match(
    made,
    /\*\*pcnk is behind in 1 of 1 comparisons:\*\*\n\n- TCP throughput, p: 0\.50 × nft's/,
  );
  assert.match(two(around(10), around(5), "lower"), /\*\*2\.00 worse\*\*/);
  assert.match(two(around(5), around(10), "lower"), /\| 0\.50 better \|/);
});

Deno.test("markdownReport() calls it close where halves overlap or runs are few", () => {
  assert.match(two(around(9.5), around(10)), /\*\*0\.95 worse \(close\)\*\*/);
  assert.match(two([5], [10]), /\*\*0\.50 worse \(close\)\*\*/);
  assert.match(two(around(10), around(10)), /\| 1\.00 \|$/m);
});

Deno.test("markdownReport() compares curves at each x", () => {
  const made = text([CURVE]);
  assert.match(made, /^\| path \| services \| pcnk \| bridge \| .* \| pcnk ÷ nft \|$/m);
  assert.ok(
    made.includes(
      "| pod→pod same node | 100 | 400 (360 … 440) | 360 (324 … 396) | 320 (288 … 352) | 280 (252 … 308)",
    ),
    made,
  );
});

Deno.test("markdownReport() names what is missing and what failed", () => {
  const made = text([
    measure({ lines: [{ contender: "nft", path: "p", points: [], failed: "no nft here" }] }),
  ], { notes: ["sockperf is not installed"] });
  assert.match(made, /^- sockperf is not installed$/m);
  assert.match(made, /^- not measured: nft, p: no nft here$/m);
  assert.match(made, /^\| p \| nft \| not measured \|/m);
  assert.match(made, /Nothing here compares pcnk with another contender/);
});

Deno.test("markdownReport() keeps names from being markup, and tables whole", () => {
  const made = text(HOSTILE, { notes: [EVIL], pcnk: EVIL });
  assert.doesNotMatch(made, /<script|NaN|Infinity|undefined/);
  // deno-lint-ignore no-control-regex -- none may come through
  assert.doesNotMatch(made, /[\u0000-\u0009\u000b-\u001f]/);
  let columns = 0;
  for (const line of made.split("\n")) {
    const cells = line.startsWith("|") ? line.replaceAll("\\|", "").split("|").length : 0;
    if (cells > 0 && columns > 0) assert.equal(cells, columns, line);
    columns = cells;
  }
});
