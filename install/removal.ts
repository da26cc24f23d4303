/** The steps of `pcnk uninstall`: those on files (steps.ts), and those on the kernel and the cloud. */
import type { CgroupHook } from "../src/bpf/cgroup.ts";
import type { Direction } from "../src/linux/rtnetlink.ts";
import { describeStep as describeRouting, type Step as RoutingStep } from "../src/routing/steps.ts";
import { describeStep, type Step } from "./steps.ts";

/** A device by index and name. */
interface Device {
  ifindex: number;
  device: string;
}

/** One step of a removal. */
export type RemovalStep =
  | Step
  | { do: "detach"; direction: Direction; program: string } & Device
  | { do: "delete-clsact" } & Device
  | { do: "detach-cgroup"; hook: CgroupHook }
  | { do: "routing"; steps: readonly RoutingStep[] }
  | { do: "delete-device"; why: string } & Device
  | { do: "remove-pin"; path: string }
  | { do: "unmount"; path: string }
  | { do: "release-ports"; ports: string }
  | { do: "remove-vpc-route"; route: string }
  | { do: "remove-tree"; path: string; why: string };

/** A step as text: one line, or one for each route. */
export function describeRemoval(step: RemovalStep): string {
  switch (step.do) {
    case "detach":
      return `detach ${step.program} from ${step.device} (${step.direction})`;
    case "delete-clsact":
      return `remove the clsact qdisc of ${step.device}, which is empty now`;
    case "detach-cgroup":
      return `detach hostlb from the cgroup's hook ${step.hook}`;
    case "routing":
      return step.steps.map(describeRouting).join("\n");
    case "delete-device":
      return `delete device ${step.device}: ${step.why}`;
    case "remove-pin":
      return `remove pin ${step.path}`;
    case "unmount":
      return `unmount ${step.path}`;
    case "release-ports":
      return step.ports === ""
        ? "remove the empty record of reserved ports"
        : `release the reserved ports ${step.ports}`;
    case "remove-vpc-route":
      return `remove ${step.route} from the VPC`;
    case "remove-tree":
      return `remove ${step.path} with its content: ${step.why}`;
    default:
      return describeStep(step);
  }
}
