/** The JSON that `pcnk bench` writes, of which reports and plots are made. */

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
  /** For the reader: missing tools and contenders. */
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
