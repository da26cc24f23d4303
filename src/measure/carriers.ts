/** pcnk's programs of a lab's nodes taken off and put on again, and rule sets loaded into nodes: the variants of a lab. */
import { attach, detach, listAttachments } from "../bpf/attach.ts";
import { attachCgroup, cgroupAttachment, detachCgroup, listCgroupHooks } from "../bpf/cgroup.ts";
import { openDataPlane } from "../bpf/dataplane.ts";
import { ORDINARY_PORT } from "../bpf/segment.ts";
import { allSessions, deleteSessions } from "../bpf/sessions.ts";
import { progById } from "../bpf/syscall.ts";
import type { NodePlan } from "../lab/plan.ts";
import type { LabStore } from "../lab/state.ts";
import { closeFd } from "../linux/libc.ts";
import { withNetns } from "../linux/netns.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { type Cleanup, runIn, type Variant } from "./variants.ts";

/**
 * Everything that pcnk has attached on these nodes now: programs on devices and on the cgroup's socket hooks; and the isolation
 * of pods' ports. On is how they are when this is called; no agent may run, or it puts back what was taken off.
 */
export function pcnkNodesVariant(cleanup: Cleanup, store: LabStore): Variant {
  return allOf(store.plan.nodes.flatMap((node) => [
    isolatedPorts(cleanup, node),
    devicePrograms(cleanup, node),
    cgroupPrograms(cleanup, node, store.cgroup(node.cgroup)),
    sessionsOf(cleanup, node),
  ]));
}

/** Several as one; off in the opposite order. */
export function allOf(variants: readonly Variant[]): Variant {
  return {
    on: () => variants.forEach((variant) => variant.on()),
    off: () => variants.toReversed().forEach((variant) => variant.off()),
  };
}

/** Without pcnk's programs the bridge is what carries frames between pods of a node. */
function isolatedPorts(cleanup: Cleanup, { netnsPath }: NodePlan): Variant {
  const nl = RtNetlink.open(netnsPath);
  cleanup.defer(() => nl.close());
  const ports = nl.links().filter(({ portLimits = [] }) => portLimits.includes("isolated"));
  const closed = { isolated: true, learning: false, flood: false };
  return {
    on: () => ports.forEach(({ index }) => nl.setPort(index, closed)),
    off: () => ports.forEach(({ index }) => nl.setPort(index, ORDINARY_PORT)),
  };
}

function devicePrograms(cleanup: Cleanup, { netnsPath, bpffs }: NodePlan): Variant {
  const nl = RtNetlink.open(netnsPath);
  cleanup.defer(() => nl.close());
  const places = withNetns(netnsPath, () => listAttachments({ bpffs, nl })).map((found) => ({
    ...found,
    hook: { bpffs, nl, ifindex: found.ifindex, direction: found.direction },
    programFd: hold(cleanup, found.progId),
  }));
  return {
    on: () =>
      withNetns(netnsPath, () => {
        for (const { hook, programFd, name, mode } of places) {
          attach({ ...hook, programFd, name, mode });
        }
      }),
    off: () => withNetns(netnsPath, () => places.forEach(({ hook }) => detach(hook))),
  };
}

/** Each turn begins with no flow known, as it does for the rule sets. */
function sessionsOf(cleanup: Cleanup, { bpffs }: NodePlan): Variant {
  const tables = sessionTables(cleanup, bpffs);
  return {
    on: () => {},
    off: () => void deleteSessions(tables, allSessions(tables).map(([key]) => key)),
  };
}

export function sessionTables(cleanup: Cleanup, bpffs: string) {
  const plane = openDataPlane(bpffs);
  cleanup.defer(() => plane.close());
  return plane.maps;
}

function cgroupPrograms(cleanup: Cleanup, { bpffs }: NodePlan, cgroup: string | null): Variant {
  const places = listCgroupHooks(bpffs).flatMap((hook) => {
    const found = cgroupAttachment(bpffs, hook);
    return found ? [{ hook, programFd: hold(cleanup, found.progId) }] : [];
  });
  return {
    on: () => {
      for (const place of places) attachCgroup({ bpffs, cgroup: cgroup!, ...place });
    },
    off: () => places.forEach(({ hook }) => detachCgroup(bpffs, hook)),
  };
}

/** A descriptor of a program, so that it outlives its attachments. */
function hold(cleanup: Cleanup, progId: number): number {
  const fd = progById(progId);
  if (fd === undefined) throw new Error(`program ${progId} has gone`);
  cleanup.defer(() => closeFd(fd));
  return fd;
}

/**
 * A rule set on every node, loaded by `command` from its standard input. Off leaves no table, and connection tracking, which
 * then is off too, forgets all flows.
 */
export function rulesVariant(
  nodes: readonly Pick<NodePlan, "netnsPath">[],
  command: readonly string[],
  rules: string,
): Variant {
  return {
    on: () => nodes.forEach(({ netnsPath }) => runIn(netnsPath, [...command], rules)),
    off: () => {
      for (const { netnsPath } of nodes) {
        forgetFlows(netnsPath);
        runIn(netnsPath, ["nft", "flush", "ruleset"]);
      }
    },
  };
}

/** Else ended connections fill the table within some runs; without conntrack(8) they end by their timeouts. */
function forgetFlows(netns: string): void {
  try {
    runIn(netns, ["conntrack", "--flush"]);
  } catch {
    // Not installed.
  }
}
