/** `lab status`: what of a lab is there and alive. */
import { listAttachments } from "../bpf/attach.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { agentStatus } from "./agents.ts";
import type { NodePlan } from "./plan.ts";
import { outsideServer } from "./outside.ts";
import { isAlive } from "./process.ts";
import type { LabState, LabStore, PodState } from "./state.ts";
import { columns, type Paint } from "../view/terminal.ts";

/** A node as it is now. */
interface NodeStatus {
  name: string;
  address: string;
  podCIDR: string;
  /** The agent's pid; null when it does not run. */
  agent: number | null;
  ready: boolean;
  /** The attach mode as configured. */
  attach: string;
  /** How it reaches other nodes, as configured. */
  routing: string;
}

/** A pod as it is now. */
interface PodStatus {
  name: string;
  node: string;
  /** Empty while CNI ADD is at work, or when it failed. */
  address: string;
  veth: string;
  /** How pcnk's program is attached to the veth. */
  attached: "tcx" | "clsact" | "no";
  /** The server's pid; null when it does not run. */
  server: number | null;
}

/** The machine outside as it is now. */
interface OutsideStatus {
  name: string;
  address: string;
  /** The server's pid; null when it does not run. */
  server: number | null;
}

/** A lab as it is now. */
export interface LabStatus {
  name: string;
  phase: "starting" | "up";
  startedAt: string;
  nodes: NodeStatus[];
  pods: PodStatus[];
  outside: OutsideStatus;
}

/** Looks at everything the state file names. */
export function labStatus(store: LabStore): LabStatus {
  const { plan, state } = store;
  const attached = new Map(plan.nodes.map((node) => [node.name, attachedVeths(node)]));
  return {
    name: plan.options.name,
    phase: state.phase,
    startedAt: state.startedAt,
    nodes: plan.nodes.map((node) => {
      const { pid, ready } = agentStatus(store, node);
      const { name, address, podCIDR } = node;
      const { attach, routing } = plan.options;
      return { name, address, podCIDR, agent: pid ?? null, ready, attach, routing };
    }),
    pods: plan.nodes.flatMap((node) => podsOf(state, node.name)).map((
      { name, node, address, veth, server },
    ) => ({
      name,
      node,
      address,
      veth,
      attached: attached.get(node)?.get(veth) ?? "no",
      server: server && isAlive(server) ? server.pid : null,
    })),
    outside: {
      name: plan.outside.name,
      address: plan.outside.address,
      server: outsideServer(store) ?? null,
    },
  };
}

function podsOf(state: LabState, node: string): PodState[] {
  return Object.values(state.pods).filter((pod) => pod.node === node);
}

/** How pcnk is attached to the devices of a node, by their names. */
function attachedVeths(node: NodePlan): Map<string, "tcx" | "clsact"> {
  try {
    using nl = RtNetlink.open(node.netnsPath);
    const names = new Map(nl.links().map((link) => [link.index, link.name]));
    const found = listAttachments({ bpffs: node.bpffs, nl })
      .filter(({ direction }) => direction === "ingress");
    return new Map(found.map(({ ifindex, mode }) => [names.get(ifindex) ?? "", mode]));
  } catch {
    return new Map(); // The node is not there yet, or no longer; the rest of the status says so.
  }
}

/** The status as tables. */
export function renderStatus(status: LabStatus, paint: Paint): string {
  const head = (words: string[]) => words.map((word) => paint("bold", word));
  const dead = paint("red", "not running");
  const nodes = status.nodes.map((node) => [
    node.name,
    node.address,
    node.podCIDR,
    node.agent === null ? dead : `pid ${node.agent}`,
    node.ready ? paint("green", "yes") : paint("red", "no"),
    node.attach,
    node.routing,
  ]);
  const pods = status.pods.map((pod) => [
    pod.name,
    pod.node,
    pod.address || paint("red", "none"),
    pod.veth,
    pod.attached === "no" ? paint("red", "no") : pod.attached,
    pod.server === null ? dead : `pid ${pod.server}`,
  ]);
  const { name, address, server } = status.outside;
  const lines = [
    ...columns([
      head(["NODE", "ADDRESS", "PODCIDR", "AGENT", "READY", "ATTACH", "ROUTING"]),
      ...nodes,
    ]),
    "",
    ...columns([head(["POD", "NODE", "ADDRESS", "VETH", "ATTACHED", "SERVER"]), ...pods]),
    "",
    ...columns([head(["MACHINE", "ADDRESS", "SERVER"]), [
      name,
      address,
      server === null ? dead : `pid ${server}`,
    ]]),
  ];
  if (status.phase === "starting") {
    lines.push("", `lab ${status.name} is not whole: lab up is at work, or it crashed`);
  }
  return lines.join("\n") + "\n";
}
