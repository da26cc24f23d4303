/**
 * `pcnk uninstall`: finds what of pcnk is on this node and removes it. A step that fails does not keep the others: the error
 * at the end names it, and the next call finds it again. Works without an agent, and on a node where half of it is gone.
 *
 * Running pods lose their network with the bridge: their runtime gives them another one when they are recreated.
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
import { InstallError } from "./steps.ts";
import { readRecord } from "./record.ts";
import { describeRemoval, type RemovalStep } from "./removal.ts";

interface UninstallOptions extends Places, FileOptions {
  /** Prefix of all paths: a system that does not run. Empty for this machine. */
  root: string;
  dryRun: boolean;
  /** Gets each line for the user. */
  say: (line: string) => void;
}

interface RemovalPlan {
  first: RemovalStep[];
  steps: RemovalStep[];
  notes: string[];
}

/**
 * Removes pcnk from the node.
 * @throws {InstallError} naming each step that failed, and why
 */
export async function uninstall(options: UninstallOptions): Promise<void> {
  const { root, dryRun, say } = options;
  const live = root === "";
  if (live && Deno.uid() !== 0) {
    throw new InstallError("pcnk uninstall removes devices and files: run it as root");
  }
  const pods = live ? listAttachmentIds(options.stateDir).length : 0;
  const before = planRemoval(options);
  if (dryRun) return printPlan(before, pods, say);
  const failures: string[] = [];
  const carryOutAll = async (steps: readonly RemovalStep[]) => {
    for (const step of steps) await attempt(step, options, failures);
  };
  await carryOutAll(before.first);
  {
    // Planned again: the agent may have changed something before it ended.
    using _held = live ? await holdOffAgent(options.stateDir) : undefined;
    const { first, steps } = planRemoval(options);
    await carryOutAll(first);
    await carryOutAll(steps);
  }
  for (const note of before.notes) say(`note: ${note}`);
  if (pods > 0) say(podsNote(pods));
  if (failures.length > 0) throw new InstallError(failures.join("\n"));
  const any = before.first.length + before.steps.length > 0;
  say(any ? "pcnk is removed from this node" : "nothing of pcnk is here");
}

function planRemoval(options: UninstallOptions): RemovalPlan {
  const { root, stateDir } = options;
  const machine = realMachine(root);
  const record = readRecord(machine);
  const { first, steps, notes } = findFiles(machine, record, options);
  if (!machine.live) return { first, steps, notes };
  return {
    first,
    steps: [
      ...findElsewhere(stateDir),
      ...findInKernel(options),
      // Those of the overlay's device go with the device.
      ...findSysctls(machine, record.sysctls, readState(stateDir, "sysctls") ?? {})
        .filter((step) => !("name" in step && step.name.includes(`/${options.device}/`))),
      ...steps,
    ],
    notes,
  };
}

/** What only the state directory has on record: it goes before the directory does. */
function findElsewhere(stateDir: string): RemovalStep[] {
  const route = vpcRoute(stateDir);
  const ports = reservedByPcnk(stateDir);
  const damaged = route === undefined && hasState(stateDir, "vpc");
  const why = "damaged";
  const steps: RemovalStep[] = [];
  if (route !== undefined) steps.push({ do: "remove-vpc-route", route });
  if (damaged) steps.push({ do: "remove-file", path: statePath(stateDir, "vpc"), why });
  if (ports !== undefined) steps.push({ do: "release-ports", ports });
  return steps;
}

function printPlan(
  { first, steps, notes }: RemovalPlan,
  pods: number,
  say: (line: string) => void,
) {
  for (const step of [...first, ...steps]) say(`would ${describeRemoval(step)}`);
  for (const note of notes) say(`note: ${note}`);
  if (pods > 0) say(podsNote(pods));
  if (first.length + steps.length === 0) say("nothing of pcnk is here");
}

function podsNote(pods: number): string {
  const many = pods === 1 ? "1 pod" : `${pods} pods`;
  return `note: ${many} of this node had a network by pcnk and ${
    pods === 1 ? "is" : "are"
  } without one now: recreate them when another network is installed`;
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

/** When it fails its record stays for the next call, and with it the state directory. */
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
