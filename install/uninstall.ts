/**
 * `pcnk uninstall`: finds what of pcnk is on this node and takes it away. What cannot be taken away does not keep the rest: it is told at the
 * end, and the next call finds it again. Works with an agent that is dead, and on a node where half of it is gone.
 *
 * Pods that run go on running but lose their network with the bridge: only who started them can give them another one.
 */
import { releasePorts, reservedByPcnk } from "../src/agent/network/reserved_ports.ts";
import { removeVpcRoute, vpcRoute } from "../src/agent/network/vpc.ts";
import { hasState, readState, statePath } from "../src/node/state_files.ts";
import { detach } from "../src/bpf/attach.ts";
import { detachCgroup } from "../src/bpf/cgroup.ts";
import { removePin } from "../src/bpf/pins.ts";
import { Routing } from "../src/agent/routing/routing.ts";
import { umount } from "../src/linux/mount.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import { listAttachmentIds } from "../src/node/attachments.ts";
import type { Step as RoutingStep } from "../src/routing/steps.ts";
import { holdOffAgent } from "./agent_lock.ts";
import { carryOut } from "./apply.ts";
import { type FileOptions, findFiles, findSysctls } from "./find_files.ts";
import { findInKernel, type Places } from "./find_kernel.ts";
import { realMachine } from "./machine.ts";
import { InstallError } from "./problems.ts";
import { readRecord } from "./record.ts";
import { describeRemoval, type RemovalStep } from "./removal.ts";

interface UninstallOptions extends Places, FileOptions {
  /** Prefix of all paths: a system that does not run. Empty for this machine. */
  root: string;
  dryRun: boolean;
  /** Gets each line for the user. */
  say: (line: string) => void;
  /** Where the machine's root is mounted besides, in a container whose own paths are mount points. */
  hostPrefix?: string;
}

interface RemovalPlan {
  first: RemovalStep[];
  steps: RemovalStep[];
  notes: string[];
}

/**
 * Takes pcnk off the node.
 * @throws {InstallError} when something is left, saying what and why
 */
export async function uninstall(options: UninstallOptions): Promise<void> {
  const { root, dryRun, say } = options;
  const live = root === "";
  if (live && Deno.uid() !== 0) {
    throw new InstallError("it takes devices and files away: run it as root");
  }
  const pods = live ? listAttachmentIds(options.stateDir).length : 0;
  const before = planRemoval(options);
  if (dryRun) return tell(before, pods, say);
  const failures: string[] = [];
  const carryOutAll = async (steps: readonly RemovalStep[]) => {
    for (const step of steps) await attempt(step, options, failures);
  };
  await carryOutAll(before.first);
  {
    // What an agent has done until its end is found by a second look.
    using _held = live ? await holdOffAgent(options.stateDir) : undefined;
    const { first, steps } = planRemoval(options);
    await carryOutAll(first);
    await carryOutAll(steps);
  }
  for (const note of before.notes) say(`note: ${note}`);
  if (pods > 0) say(podsNote(pods));
  if (failures.length > 0) throw new InstallError(failures.join("\n"));
  const any = before.first.length + before.steps.length > 0;
  say(any ? "pcnk is off this node" : "there is nothing of pcnk here");
}

function planRemoval(options: UninstallOptions): RemovalPlan {
  const { root, stateDir, hostPrefix } = options;
  const machine = realMachine(root);
  const record = readRecord(machine);
  const { first, steps, notes } = findFiles(machine, record, options);
  if (!machine.live) return { first, steps, notes };
  const outer: RemovalStep[] =
    hostPrefix !== undefined && machine.find(hostPrefix + stateDir).kind === "directory"
      ? [{ do: "remove-directory", path: hostPrefix + stateDir }]
      : [];
  return {
    first,
    steps: [
      ...findElsewhere(stateDir),
      ...findInKernel(options),
      // The overlay's device takes its own with it.
      ...findSysctls(machine, record.sysctls, readState(stateDir, "sysctls") ?? {})
        .filter((step) => !("name" in step && step.name.includes(`/${options.device}/`))),
      ...steps,
      ...outer,
    ],
    notes,
  };
}

/** What is on record in the state directory, and so has to go before that does. */
function findElsewhere(stateDir: string): RemovalStep[] {
  const route = vpcRoute(stateDir);
  const ports = reservedByPcnk(stateDir);
  const damaged = route === undefined && hasState(stateDir, "vpc");
  const why = "damaged, so it tells of nothing";
  return [
    ...(route === undefined ? [] : [{ do: "remove-vpc-route", route } as const]),
    ...(damaged ? [{ do: "remove-file", path: statePath(stateDir, "vpc"), why } as const] : []),
    ...(ports === undefined ? [] : [{ do: "release-ports", ports } as const]),
  ];
}

function tell({ first, steps, notes }: RemovalPlan, pods: number, say: (line: string) => void) {
  for (const step of [...first, ...steps]) say(`would ${describeRemoval(step)}`);
  for (const note of notes) say(`note: ${note}`);
  if (pods > 0) say(podsNote(pods));
  if (first.length + steps.length === 0) say("there is nothing of pcnk here");
}

function podsNote(pods: number): string {
  const many = pods === 1 ? "1 pod" : `${pods} pods`;
  return `note: ${many} of this node had a network by pcnk and ${
    pods === 1 ? "is" : "are"
  } without one now; delete them, or start them anew when there is another network`;
}

async function attempt(
  step: RemovalStep,
  options: UninstallOptions,
  failures: string[],
): Promise<void> {
  try {
    await perform(step, options);
    options.say(describeRemoval(step));
  } catch (error) {
    const { message } = error as Error;
    const words = message.startsWith("cannot ")
      ? message
      : `cannot ${describeRemoval(step)}: ${message}`;
    failures.push(words);
  }
}

function perform(step: RemovalStep, options: UninstallOptions): void | Promise<void> {
  const { bpffs, device, root, stateDir } = options;
  switch (step.do) {
    case "detach":
      return withNetlink((nl) => void detach({ bpffs, nl, ...step }));
    case "delete-clsact":
      return withNetlink((nl) => void nl.delClsact(step.ifindex));
    case "delete-device":
      return withNetlink((nl) => void nl.delLink(step.ifindex));
    case "detach-cgroup":
      return void detachCgroup(bpffs, step.hook);
    case "routing":
      return removeRouting(device, step.steps);
    case "remove-pin":
      return void removePin(step.path);
    case "unmount":
      return void umount(step.path, { lazy: true });
    case "release-ports":
      return releasePorts(stateDir);
    case "remove-vpc-route":
      return removeCloudRoute(options);
    case "remove-tree":
      return removeTree(root + step.path);
    default:
      return carryOut(step, root);
  }
}

/** Its record stays when that does not work, and with it the state directory, for the next call. */
async function removeCloudRoute({ stateDir, say }: UninstallOptions): Promise<void> {
  for (const line of await removeVpcRoute(stateDir)) say(line);
}

function withNetlink(work: (nl: RtNetlink) => void): void {
  using nl = RtNetlink.open();
  work(nl);
}

function removeRouting(device: string, steps: readonly RoutingStep[]): void {
  using routing = new Routing({ node: "", device });
  const { failures } = routing.apply(steps);
  if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join("; "));
}

function removeTree(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
