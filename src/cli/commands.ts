/** The subcommands, in the groups and in the order in which the help shows them. */
import type { Command } from "@commander-js/extra-typings";

/** A subcommand; its module is imported only when it is called. */
interface Entry {
  name: string;
  /** Heading in the help. */
  group: string;
  summary: string;
  load: () => Promise<Command>;
}

// deno-lint-ignore no-explicit-any -- each command has its own option types; here only the base matters
const plain = (command: any): Command => command as Command;

export const commands: readonly Entry[] = [
  {
    name: "install",
    group: "On a node:",
    summary: "Install or upgrade pcnk on this node",
    load: async () => plain((await import("./install.ts")).installCommand()),
  },
  {
    name: "uninstall",
    group: "On a node:",
    summary: "Remove pcnk from this node",
    load: async () => plain((await import("./uninstall.ts")).uninstallCommand()),
  },
  {
    name: "agent",
    group: "On a node:",
    summary: "Run the node agent",
    load: async () => plain((await import("./agent.ts")).agentCommand()),
  },
  {
    name: "log-level",
    group: "On a node:",
    summary: "Show or set the log level of the running agent",
    load: async () => plain((await import("./log_level.ts")).logLevelCommand()),
  },
  {
    name: "manifest",
    group: "In a cluster:",
    summary: "Print the DaemonSet and its RBAC, for kubectl",
    load: async () => plain((await import("./manifest.ts")).manifestCommand()),
  },
  {
    name: "node",
    group: "In a cluster:",
    summary: "Show or set direct routing, VPC mode and public address of nodes",
    load: async () => plain((await import("./node.ts")).nodeCommand()),
  },
  {
    name: "status",
    group: "Inspect:",
    summary: "Check this node, and say what to do about each problem",
    load: async () => plain((await import("./status.ts")).statusCommand()),
  },
  {
    name: "get",
    group: "Inspect:",
    summary: "List services, backends, sessions, counters, … of this node",
    load: async () => plain((await import("./get.ts")).getCommand()),
  },
  {
    name: "describe",
    group: "Inspect:",
    summary: "Compare a Service in the cluster with the maps of this node",
    load: async () => plain((await import("./describe.ts")).describeCommand()),
  },
  {
    name: "topology",
    group: "Inspect:",
    summary: "Draw the devices and programs of this node",
    load: async () => plain((await import("./topology.ts")).topologyCommand()),
  },
  {
    name: "trace",
    group: "Inspect:",
    summary: "Trace a packet through the programs, hop by hop",
    load: async () => plain((await import("./trace.ts")).traceCommand()),
  },
  {
    name: "monitor",
    group: "Inspect:",
    summary: "Show dropped packets with their reasons, live",
    load: async () => plain((await import("./monitor.ts")).monitorCommand()),
  },
  {
    name: "ui",
    group: "Inspect:",
    summary: "Serve a web page of this node",
    load: async () => plain((await import("./ui.ts")).uiCommand()),
  },
  {
    name: "bench",
    group: "Other commands:",
    summary: "Measure pcnk against other networks on this machine",
    load: async () => plain((await import("./bench.ts")).benchCommand()),
  },
  {
    name: "lab",
    group: "Other commands:",
    summary: "Run a cluster of network namespaces on this machine",
    load: async () => plain((await import("./lab.ts")).labCommand()),
  },
  {
    name: "completion",
    group: "Other commands:",
    summary: "Print a completion script for bash, zsh or fish",
    load: async () => plain((await import("./completion.ts")).completionCommand()),
  },
  {
    name: "version",
    group: "Other commands:",
    summary: "Show the versions of pcnk and its parts",
    load: async () => plain((await import("./version.ts")).versionCommand()),
  },
];
