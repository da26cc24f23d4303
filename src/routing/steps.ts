/** The steps from what the kernel holds to what is planned, one system call or map update each. */
import type { OverlayDevice, PlannedNeighbour, PlannedRoute, Remote, SysctlWish } from "./types.ts";

/** One step. Steps that name no device by index concern the overlay device. */
export type Step =
  | { do: "delete-device"; ifindex: number; name: string; why: string }
  | { do: "create-device"; device: OverlayDevice }
  | {
    do: "set-device";
    change: { mac?: string; mtu?: number; up?: boolean; master?: 0 };
    why: string;
  }
  | { do: "set-checksum-offload"; on: boolean }
  | { do: "set-sysctl"; sysctl: SysctlWish }
  | { do: "add-address"; address: string }
  | { do: "delete-address"; address: string; prefixLength: number }
  | { do: "delete-broadcast"; address: string; ifindex: number }
  | { do: "set-neighbour"; neighbour: PlannedNeighbour }
  | { do: "delete-neighbour"; address: string }
  | { do: "add-route"; route: PlannedRoute }
  | { do: "replace-route"; route: PlannedRoute }
  | { do: "delete-route"; route: HeldRoute }
  | { do: "set-remote"; remote: Remote }
  | { do: "delete-remote"; prefix: string };

/** A route as the kernel holds it. */
export interface HeldRoute {
  destination: string;
  gateway?: string;
  ifindex?: number;
  type?: string;
  protocol?: number;
  scope?: number;
  metric?: number;
  mtu?: number;
  source?: string;
  onlink?: boolean;
  encap?: { id: number; destination: string };
}

/** A step in words, for logs and error messages. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case "delete-device":
      return `delete device ${step.name}: ${step.why}`;
    case "create-device": {
      const { name, port, mac, mtu } = step.device;
      return `create device ${name}: VXLAN, UDP port ${port}, MAC ${mac}, MTU ${mtu}`;
    }
    case "set-device":
      return `set the overlay device ${describeChange(step.change)}: ${step.why}`;
    case "set-checksum-offload":
      return `turn checksum offload of the overlay device ${step.on ? "on" : "off"}`;
    case "set-sysctl":
      return `set ${step.sysctl.name} to ${step.sysctl.value}: ${step.sysctl.why}`;
    case "add-address":
      return `give the overlay device the address ${step.address}`;
    case "delete-address":
      return `take the address ${step.address}/${step.prefixLength} from the overlay device`;
    case "delete-broadcast":
      return `remove the broadcast route ${step.address}, which hides this node's own address`;
    case "set-neighbour":
      return `set neighbour ${step.neighbour.address} to ${step.neighbour.mac}`;
    case "delete-neighbour":
      return `delete neighbour ${step.address}`;
    case "add-route":
      return `add route ${describeRoute(step.route)}`;
    case "replace-route":
      return `replace route by ${describeRoute(step.route)}`;
    case "delete-route":
      return `delete route ${describeHeld(step.route)}`;
    case "set-remote": {
      const { prefix, mode, nodeAddr } = step.remote;
      return `send pods' packets for ${prefix} to ${nodeAddr} (${mode})`;
    }
    case "delete-remote":
      return `send no more pods' packets for ${step.prefix} to another node`;
  }
}

type DeviceChange = Extract<Step, { do: "set-device" }>["change"];

function describeChange({ mac, mtu, up, master }: DeviceChange): string {
  const words: string[] = [];
  if (mac !== undefined) words.push(`MAC ${mac}`);
  if (mtu !== undefined) words.push(`MTU ${mtu}`);
  if (master !== undefined) words.push("no port");
  if (up !== undefined) words.push(up ? "up" : "down");
  return words.join(", ");
}

function describeRoute(route: PlannedRoute): string {
  switch (route.type) {
    case "overlay":
      return `${route.destination} through the tunnel to ${route.encap.destination}`;
    case "direct":
      return `${route.destination} via ${route.gateway}`;
    case "unreachable":
      return `${route.destination} unreachable (behind the bridge's)`;
  }
}

/** A route of the kernel in a few words. */
export function describeHeld(route: HeldRoute): string {
  const words = [route.destination];
  if (route.type !== undefined && route.type !== "unicast") words.push(route.type);
  if (route.encap !== undefined) words.push(`through the tunnel to ${route.encap.destination}`);
  else if (route.gateway !== undefined) words.push(`via ${route.gateway}`);
  if (route.ifindex !== undefined) words.push(`by device ${route.ifindex}`);
  return words.join(" ");
}
