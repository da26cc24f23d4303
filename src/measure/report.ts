/** What `pcnk bench` has measured: the JSON that it writes, and that reports and plots are made of. */

/** The machine that it ran on; what could not be found out is absent. */
type Machine = Readonly<Record<string, unknown>>;

/** One run of the benchmarks. */
export interface Report {
  format: "pcnk-bench/1";
  /** Version and commit of pcnk. */
  pcnk: string;
  /** ISO 8601. */
  taken: string;
  machine: Machine;
  options: Readonly<Record<string, unknown>>;
  measures: Measure[];
  /** What a reader has to know: missing tools, contenders that could not be had. */
  notes: string[];
}

/** One question, asked of several contenders on several paths. */
export interface Measure {
  id: string;
  title: string;
  unit: string;
  better: "higher" | "lower";
  /** The load tool. */
  tool: string;
  plot: "bars" | "time" | "curve";
  /** What x is, where there is one. */
  axis?: { name: string; unit: string; log?: boolean };
  lines: Line[];
}

/** The values of one contender on one path. */
export interface Line {
  /** "pcnk", "kube-proxy iptables", "nft", "bridge". */
  contender: string;
  path: string;
  points: { x?: number; samples: number[] }[];
  /** Why there are no values, or not all. */
  failed?: string;
}
