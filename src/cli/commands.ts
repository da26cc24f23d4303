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
    summary: "put pcnk onto this node, or upgrade it",
    load: async () => plain((await import("./install.ts")).installCommand()),
  },
  {
    name: "uninstall",
    group: "On a node:",
    summary: "take pcnk off this node",
    load: async () => plain((await import("./uninstall.ts")).uninstallCommand()),
  },
  {
    name: "agent",
    group: "On a node:",
    summary: "run the node agent: cluster objects in, eBPF maps out",
    load: async () => plain((await import("./agent.ts")).agentCommand()),
  },
  {
    name: "log-level",
    group: "On a node:",
    summary: "show or change what the running agent logs",
    load: async () => plain((await import("./log_level.ts")).logLevelCommand()),
  },
  {
    name: "manifest",
    group: "In a cluster:",
    summary: "print the DaemonSet and what belongs to it, for kubectl",
    load: async () => plain((await import("./manifest.ts")).manifestCommand()),
  },
  {
    name: "node",
    group: "In a cluster:",
    summary: "settings of nodes: direct routing, VPC mode, public address",
    load: async () => plain((await import("./node.ts")).nodeCommand()),
  },
  {
    name: "status",
    group: "Looking:",
    summary: "is this node well, and if not, what to do",
    load: async () => plain((await import("./status.ts")).statusCommand()),
  },
  {
    name: "get",
    group: "Looking:",
    summary: "show what the data plane holds: services, backends, sessions, counters, …",
    load: async () => plain((await import("./get.ts")).getCommand()),
  },
  {
    name: "describe",
    group: "Looking:",
    summary: "a Service: what the cluster says, what this node should hold, what it holds",
    load: async () => plain((await import("./describe.ts")).describeCommand()),
  },
  {
    name: "topology",
    group: "Looking:",
    summary: "this node's chain of services, drawn",
    load: async () => plain((await import("./topology.ts")).topologyCommand()),
  },
  {
    name: "trace",
    group: "Looking:",
    summary: "what would happen to a packet, hop by hop",
    load: async () => plain((await import("./trace.ts")).traceCommand()),
  },
  {
    name: "monitor",
    group: "Looking:",
    summary: "what becomes of packets, as it happens: drops with their reasons",
    load: async () => plain((await import("./monitor.ts")).monitorCommand()),
  },
  {
    name: "ui",
    group: "Looking:",
    summary: "all that as a page in a browser",
    load: async () => plain((await import("./ui.ts")).uiCommand()),
  },
  {
    name: "bench",
    group: "Besides:",
    summary: "measure it on this machine, beside what else there is",
    load: async () => plain((await import("./bench.ts")).benchCommand()),
  },
  {
    name: "lab",
    group: "Besides:",
    summary: "a cluster of network namespaces on this machine",
    load: async () => plain((await import("./lab.ts")).labCommand()),
  },
  {
    name: "completion",
    group: "Besides:",
    summary: "print a script for completion in bash, zsh or fish",
    load: async () => plain((await import("./completion.ts")).completionCommand()),
  },
  {
    name: "version",
    group: "Besides:",
    summary: "show the version of pcnk and of what it is made of",
    load: async () => plain((await import("./version.ts")).versionCommand()),
  },
];
