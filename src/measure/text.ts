/** A report for the terminal: a row for each path and peer (pure). */
import { formatValue, formatX, type Scaled, scaledUnit } from "./format.ts";
import type { Line, Measure, Report } from "./report.ts";
import { compare, OWN, type Summary, summaryAt } from "./summary.ts";

/** Rows of cells, the heading first; `columns` of src/view/terminal.ts aligns them. */
export function reportRows({ measures }: Pick<Report, "measures">): string[][] {
  return [
    ["MEASURE", "PATH", "PCNK", "HALF OF THE RUNS", "÷ ITS PEERS"],
    ...measures.flatMap(rows),
  ];
}

function rows(measure: Measure): string[][] {
  const paths = [...new Set(measure.lines.map(({ path }) => path))];
  return paths.flatMap((path) => {
    const lines = measure.lines.filter((line) => line.path === path);
    const own = lines.find(({ contender }) => contender === OWN) ?? lines[0]!;
    const xs = measure.plot === "curve" ? own.points.map(({ x }) => x) : [undefined];
    return xs.map((x) => row(measure, path, own, lines.filter((line) => line !== own), x));
  });
}

function row(measure: Measure, path: string, own: Line, peers: Line[], x?: number): string[] {
  const what = x === undefined
    ? measure.id
    : `${measure.id} ${formatX(x, measure.axis?.unit ?? "")}`;
  const summary = summaryAt(own, x);
  if (!summary) return [what, path, "–", "", own.failed ?? ""];
  const unit = scaledUnit(measure.unit, summary.median);
  return [
    what,
    path,
    formatValue(summary.median, unit),
    range(summary, unit),
    [
      ...(own.contender === OWN ? [] : [`(${own.contender})`]),
      ...peers.map((peer) => against(summary, peer, summaryAt(peer, x), measure)),
    ].join(", "),
  ];
}

function range({ q1, q3 }: Summary, unit: Scaled): string {
  return `${formatValue(q1, { ...unit, unit: "" })}..${formatValue(q3, unit)}`;
}

/** `1.31 nft`; behind it `!` where pcnk is behind for sure. */
function against(own: Summary, peer: Line, other: Summary | undefined, { better }: Measure) {
  const compared = other && compare(own, other, better);
  if (!compared) return `– ${peer.contender}`;
  const behind = compared.verdict === "worse" && compared.sure ? "!" : "";
  return `${compared.ratio.toFixed(2)}${behind} ${peer.contender}`;
}
