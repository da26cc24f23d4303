/** The subcommands, in the groups and in the order in which the help shows them. */
import type { Command } from "@commander-js/extra-typings";

/** A subcommand; its module is imported only when it is called. */
interface Entry {
  name: string;
  /** Heading in the help. */
  group: string;
  summary: string;
  load(): Promise<Command>;
}

// deno-lint-ignore no-explicit-any -- each command has its own option types; here only the base matters
type Module = { command(): any };

const GROUPS: Record<string, [name: string, load: () => Promise<Module>, summary: string][]> = {
  "On a node:": [
    ["install", () => import("./install.ts"), "Install or upgrade pcnk on this node"],
    ["uninstall", () => import("./uninstall.ts"), "Remove pcnk from this node"],
    ["agent", () => import("./agent.ts"), "Run the node agent"],
    ["log-level", () => import("./log_level.ts"), "Show or set the log level of the running agent"],
  ],
  "In a cluster:": [
    ["manifest", () => import("./manifest.ts"), "Print the DaemonSet and its RBAC, for kubectl"],
    [
      "node",
      () => import("./node.ts"),
      "Show or set direct routing, VPC mode and public address of nodes",
    ],
  ],
  "Inspect:": [
    [
      "status",
      () => import("./status.ts"),
      "Check this node, and say what to do about each problem",
    ],
    [
      "get",
      () => import("./get.ts"),
      "List services, backends, sessions, counters, … of this node",
    ],
    [
      "describe",
      () => import("./describe.ts"),
      "Compare a Service in the cluster with the maps of this node, or show a pod",
    ],
    ["topology", () => import("./topology.ts"), "Draw the devices and programs of this node"],
    ["trace", () => import("./trace.ts"), "Trace a packet through the programs, hop by hop"],
    ["monitor", () => import("./monitor.ts"), "Show dropped packets with their reasons, live"],
    ["ui", () => import("./ui.ts"), "Serve a web page of this node"],
  ],
  "Other commands:": [
    ["bench", () => import("./bench.ts"), "Measure pcnk against other networks on this machine"],
    ["lab", () => import("./lab.ts"), "Run a cluster of network namespaces on this machine"],
    [
      "completion",
      () => import("./completion.ts"),
      "Print a completion script for bash, zsh or fish",
    ],
    ["version", () => import("./version.ts"), "Show the versions of pcnk and its parts"],
  ],
};

export const commands: readonly Entry[] = Object.entries(GROUPS).flatMap(([group, entries]) =>
  entries.map(([name, load, summary]) => ({
    name,
    group,
    summary,
    load: async (): Promise<Command> => (await load()).command(),
  }))
);
