/** Reports for tests: a plain one, and one with everything that a plot may stumble over. */
import type { Line, Measure, Report } from "./report.ts";

/** Samples around a value: it is the median, a tenth to each contender the quartiles. */
export const around = (value: number): number[] =>
  [0.8, 0.9, 1, 1.1, 1.2].map((factor) => value * factor);

export const CONTENDERS = ["pcnk", "bridge", "kube-proxy iptables", "nft"];
export const PATHS = ["pod→pod same node", "pod→service same node"];

/** A line for each contender and path; contenders differ by a tenth each, pcnk is the largest. */
function lines(values: (factor: number) => Line["points"]): Line[] {
  return PATHS.flatMap((path, i) =>
    CONTENDERS.map((contender, j) => ({ contender, path, points: values((4 - i) * (1 - j / 10)) }))
  );
}

export function measure(change: Partial<Measure> = {}): Measure {
  return {
    id: "throughput",
    title: "TCP throughput",
    unit: "Gbit/s",
    better: "higher",
    tool: "iperf3",
    plot: "bars",
    lines: lines((factor) => [{ samples: around(10 * factor) }]),
    ...change,
  };
}

export const OVER_TIME = measure({
  id: "time",
  plot: "time",
  lines: lines((factor) => [0, 1, 2, 3].map((x) => ({ x, samples: around(factor * (x + 1)) }))),
});

export const CURVE = measure({
  id: "curve",
  plot: "curve",
  axis: { name: "services", unit: "", log: true },
  lines: lines((factor) => [1, 100, 10_000].map((x) => ({ x, samples: around(factor * x) }))),
});

export function report(measures: Measure[], change: Partial<Report> = {}): Report {
  return {
    format: "pcnk-bench/1",
    pcnk: "0.1.0",
    taken: "2026-01-01T00:00:00Z",
    machine: { cpu: "2 × CPU", tools: { iperf3: "3.12", sockperf: null } },
    options: { rounds: 5 },
    measures,
    notes: [],
    ...change,
  };
}

/** A name that is markup, a control character and longer than any picture is wide. */
export const EVIL = `</text><script>"x" & 'y' | _z_\u0007${" very long".repeat(30)}`;

/** One measure for each way in which values can be odd. */
export const HOSTILE: Measure[] = (["bars", "time", "curve"] as const).flatMap((plot) => {
  const axis = { name: EVIL, unit: "B", log: true };
  const odd = (id: string, lines: Line[]) =>
    measure({ id: `${plot} ${id}`, title: EVIL, tool: EVIL, unit: "s", plot, axis, lines });
  const line = (contender: string, ...points: Line["points"]): Line => ({
    contender,
    path: EVIL,
    points,
  });
  return [
    odd("nothing", []),
    odd("no values", [line("pcnk"), line("nft", { x: 1, samples: [] })]),
    odd("no numbers", [line("pcnk", { x: 1, samples: [null as unknown as number] })]),
    odd("one sample", [line("pcnk", { x: 5, samples: [1] })]),
    odd("zeroes", [line("pcnk", { x: 0, samples: [0, 0, 0] }), line("nft", { samples: [0] })]),
    odd("negative", [line("pcnk", { x: 1, samples: [-5, -4, 3] })]),
    odd(
      "huge",
      [1e-9, 1, 1e15].map((value, i) =>
        line(CONTENDERS[i]!, { x: 10 ** (9 * i), samples: around(value) })
      ),
    ),
    odd("gap", [line("pcnk", ...[1, 2, 3, 4].map((x) => ({ x, samples: x === 3 ? [] : [x] })))]),
    odd(
      "many",
      Array.from({ length: 20 }, (_, i) => line(`${i}${EVIL}`, { x: i, samples: around(i) })),
    ),
    odd("failed", Array.from({ length: 20 }, (_, i) => ({ ...line(`${i}`), failed: EVIL }))),
  ];
});
