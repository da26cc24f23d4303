/** What is pinned on the bpffs, and hostlb's links on its cgroup. */
import { cgroupAttachment } from "../bpf/cgroup.ts";
import { HOSTLB_HOOKS } from "../bpf/hostlb.ts";
import { maps, queues } from "../bpf/layout.ts";
import { bpffsMountPoint } from "../bpf/node_bpffs.ts";
import { DISPATCHER_PROGRAMS, hasPin, mapPin, programPin, PROGRAMS } from "../bpf/pins.ts";
import { fileSystem, isBpffs, remountBpffs } from "../linux/mount.ts";
import type { Fault, NodeState } from "./fault.ts";

/** With an agent all that it has seen pinned, links too; without one the maps and programs that there must be. */
export function pinFaults({ bpffs, agent }: Pick<NodeState, "bpffs" | "agent">): Fault[] {
  const { readOnly } = fileSystem(bpffs) ?? {};
  if (isBpffs(bpffs) && readOnly) return [readOnlyFault(bpffs, agent)];
  const missing = agent?.missingPins() ?? needed(bpffs).filter((path) => !hasPin(path));
  if (missing.length === 0) return [];
  return [{
    object: `pins in ${bpffs}`,
    text: `${what(bpffs, missing)}: no pod can be added`,
    next:
      "start or restart the agent, which pins again what is attached; then check what removed them",
    refuses: true,
    mend: agent && (() => agent.restorePins()),
  }];
}

function readOnlyFault(bpffs: string, agent: NodeState["agent"]): Fault {
  const point = bpffsMountPoint(bpffs);
  return {
    object: `${bpffs} writable`,
    text: `${bpffs} is mounted read-only: no pod can be added`,
    next: `mount -o remount,rw ${point}`,
    refuses: true,
    mend: agent && (() => remountBpffs(point)),
  };
}

function what(bpffs: string, missing: readonly string[]): string {
  if (!isBpffs(bpffs)) return `${bpffs} is no bpffs any more`;
  const shown = missing.slice(0, 3).map((path) => path.slice(bpffs.length + 1)).join(", ");
  const rest = missing.length > 3 ? ` and ${missing.length - 3} more` : "";
  return `${bpffs} lacks the pins ${shown}${rest}`;
}

function needed(bpffs: string): string[] {
  return [
    ...Object.keys({ ...maps, ...queues }).map((name) => mapPin(bpffs, name)),
    ...[...PROGRAMS, ...DISPATCHER_PROGRAMS].map((name) => programPin(bpffs, name)),
  ];
}

/** hostlb on the cgroup of the node's own processes. */
export function hostlbFaults({ bpffs, objects, agent }: NodeState): Fault[] {
  if (objects.cgroup === undefined) return [];
  const missing = HOSTLB_HOOKS.filter((hook) => cgroupAttachment(bpffs, hook) === undefined);
  if (missing.length === 0) return [];
  return [{
    object: `hostlb on ${objects.cgroup}`,
    text: `hostlb is not attached to ${objects.cgroup} (${missing.join(", ")}): ` +
      "the node's own processes reach no Services",
    next: "restart the agent, which attaches it; see its log",
    mend: agent && (() => agent.installHostlb()),
  }];
}
