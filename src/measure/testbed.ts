/** Testbeds: clients, servers and the paths between them. Loads know no more of one than this. */
import type { Placement } from "./placement.ts";
import type { Tool } from "./tools.ts";

/** Client and server of a path, as the report names it. */
export const PATHS = [
  "localhost",
  "node→node",
  "pod→pod, one node",
  "pod→service, one node",
  "pod→pod, two nodes",
  "pod→service, two nodes",
] as const;
export type Path = typeof PATHS[number];

/** What carries the traffic, as the report names it. */
export const CONTENDERS = ["pcnk", "kube-proxy iptables", "nft", "plain"] as const;
export type Contender = typeof CONTENDERS[number];

/** An address to connect to. */
export interface Target {
  address: string;
  port: number;
}

/** A testbed. */
export interface Testbed {
  contenders: readonly Contender[];
  /** The paths of this contender; a service needs one that translates. */
  paths(contender: Contender): readonly Path[];
  /** Puts this contender on, and the former one off. */
  carry(contender: Contender): void;
  client(path: Path): Placement;
  /** Placement of the server of this path; undefined: it runs already. */
  server(path: Path): Placement | undefined;
  /** `port`: the one that the server listens on. */
  target(path: Path, port: number): Target;
  /** The port that servers of this tool listen on here. */
  port(tool: Tool): number;
  /** Sets the MTU of all devices that pods' packets pass and calls `work`; afterwards all is as it was. Bytes. */
  withMtu?<T>(mtu: number, work: () => Promise<T>): Promise<T>;
  /**
   * Puts this contender on with so many services and calls `work` with the address of one of them, behind which is the server of
   * "pod→service, one node"; afterwards they are gone.
   */
  withServices?<T>(
    count: number,
    contender: Contender,
    work: (target: Target) => Promise<T>,
  ): Promise<T>;
  /** For the reader of the report. */
  notes: readonly string[];
}
