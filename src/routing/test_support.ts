/** What the tests of routing share: clusters, and a kernel of values that follows steps. */
import process from "node:process";
import { ROUTE_PROTOCOL, UNREACHABLE_METRIC } from "./diff.ts";
import type { HeldNeighbour, KernelRouting } from "./kernel.ts";
import type { HeldRoute, Step } from "./steps.ts";
import type {
  PlannedRoute,
  Remote,
  RoutingInput,
  RoutingNode,
  RoutingSettings,
  Uplink,
} from "./types.ts";

/** An uplink 192.168.50.11/24. */
export const uplink: Uplink = {
  ifindex: 2,
  name: "eth0",
  mtu: 1500,
  addresses: [{ address: "192.168.50.11", prefixLength: 24 }],
};

export function settings(change: Partial<RoutingSettings> = {}): RoutingSettings {
  const overlay = { device: "pcnk_vxlan", vni: 42, port: 4789, checksumOffload: true };
  return { routing: "overlay", overlay, ...change };
}

/** Node `n1` is 192.168.50.11 with 10.244.1.0/24, and so on. */
export function node(index: number, change: Partial<RoutingNode> = {}): RoutingNode {
  return {
    name: `n${index}`,
    internalIPs: [`192.168.50.${10 + index}`],
    podCIDRs: [`10.244.${index}.0/24`],
    ...change,
  };
}

/** The input of node `n1` in a cluster of `nodes`. */
export function input(nodes: RoutingNode[], change: Partial<RoutingInput> = {}): RoutingInput {
  return { own: "n1", nodes, settings: settings(), uplinks: [uplink], ...change };
}

/** A big cluster: nodes in 172.16.0.0/12, a /24 each in 10.0.0.0/8. */
export function manyNodes(count: number): RoutingNode[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `n${i + 1}`,
    internalIPs: [`172.16.${(i + 1) >> 8}.${(i + 1) & 255}`],
    podCIDRs: [`10.${(i + 1) >> 8}.${(i + 1) & 255}.0/24`],
  }));
}

/** A kernel that has nothing of ours. */
export function bareKernel(change: Partial<KernelRouting> = {}): KernelRouting {
  return {
    leftovers: [],
    routes: [],
    neighbours: [],
    broadcasts: [],
    sysctls: new Map([
      ["net/ipv4/ip_forward", "0"],
      ["net/ipv4/conf/all/rp_filter", "0"],
      ["net/ipv4/conf/default/rp_filter", "0"],
      ["net/ipv4/conf/eth0/rp_filter", "0"],
      ["net/ipv4/conf/eth0/forwarding", "0"],
    ]),
    remotes: new Map<string, Remote>(),
    ...change,
  };
}

let nextIfindex = 100;

/**
 * Does to a kernel of values what the steps do to a real one, its flushing included.
 * @throws {Error} where the real one would refuse
 */
export function follow(kernel: KernelRouting, steps: readonly Step[]): KernelRouting {
  const held: KernelRouting = structuredClone(kernel);
  for (const step of steps) followOne(held, step);
  return held;
}

function followOne(held: KernelRouting, step: Step) {
  const overlay = () => {
    if (held.overlay === undefined) throw new Error(`no overlay device: ${JSON.stringify(step)}`);
    return held.overlay;
  };
  switch (step.do) {
    case "delete-device":
      if (step.ifindex === held.overlay?.ifindex) {
        delete held.overlay;
        held.neighbours = [];
      }
      held.leftovers = held.leftovers.filter(({ ifindex }) => ifindex !== step.ifindex);
      held.routes = held.routes.filter(({ ifindex }) => ifindex !== step.ifindex);
      return;
    case "create-device": {
      if (held.overlay !== undefined) throw new Error("EEXIST");
      const { name, mac, mtu, port } = step.device;
      const fresh = { ifindex: nextIfindex++, name, kind: "vxlan", mac, mtu, port, up: false };
      held.overlay = {
        ...fresh,
        external: true,
        learning: false,
        checksumOffload: true,
        addresses: [],
      };
      const defaults = held.sysctls.get("net/ipv4/conf/default/rp_filter") ?? "0";
      held.sysctls.set(`net/ipv4/conf/${name}/rp_filter`, defaults);
      return;
    }
    case "set-device":
      if (step.change.mac !== undefined) held.neighbours = [];
      Object.assign(overlay(), step.change);
      return;
    case "set-checksum-offload":
      overlay().checksumOffload = step.on;
      return;
    case "set-sysctl":
      held.sysctls.set(step.sysctl.name, step.sysctl.value);
      return;
    case "add-address":
      overlay().addresses.push({ address: step.address, prefixLength: 32 });
      return;
    case "delete-address": {
      const device = overlay();
      device.addresses = device.addresses.filter(({ address }) => address !== step.address);
      if (device.addresses.length === 0) {
        held.routes = held.routes.filter(({ ifindex }) => ifindex !== device.ifindex);
      }
      return;
    }
    case "delete-broadcast":
      held.broadcasts = held.broadcasts.filter(({ address }) => address !== step.address);
      return;
    case "set-neighbour":
      overlay();
      dropNeighbour(held, step.neighbour.address);
      held.neighbours.push({ ...step.neighbour, state: 0x80 } satisfies HeldNeighbour);
      return;
    case "delete-neighbour":
      return dropNeighbour(held, step.address);
    case "add-route": {
      const route = toHeld(step.route, held);
      if (held.routes.some((other) => sameKey(other, route))) throw new Error("EEXIST");
      held.routes.push(route);
      return;
    }
    case "replace-route": {
      const route = toHeld(step.route, held);
      const at = held.routes.findIndex((other) => sameKey(other, route));
      if (held.routes[at]?.protocol !== ROUTE_PROTOCOL) throw new Error("a foreign route replaced");
      held.routes[at] = route;
      return;
    }
    case "delete-route": {
      const text = JSON.stringify(step.route);
      const at = held.routes.findIndex((other) => JSON.stringify(other) === text);
      if (step.route.protocol !== ROUTE_PROTOCOL) throw new Error("a foreign route deleted");
      if (at >= 0) held.routes.splice(at, 1);
      return;
    }
    case "set-remote":
      held.remotes!.set(step.remote.prefix, step.remote);
      return;
    case "delete-remote":
      held.remotes!.delete(step.prefix);
  }
}

function dropNeighbour(held: KernelRouting, gone: string) {
  held.neighbours = held.neighbours.filter(({ address }) => address !== gone);
}

function sameKey(a: HeldRoute, b: HeldRoute): boolean {
  return a.destination === b.destination && (a.metric ?? 0) === (b.metric ?? 0);
}

/** A route as the kernel tells it once it has it. */
function toHeld(route: PlannedRoute, kernel: KernelRouting): HeldRoute {
  const { destination } = route;
  const common = { destination, protocol: ROUTE_PROTOCOL, scope: 0 };
  if (route.type === "unreachable") {
    return { ...common, type: "unreachable", metric: UNREACHABLE_METRIC };
  }
  const { gateway } = route;
  const unicast = { ...common, type: "unicast", metric: 0, gateway };
  if (route.type === "direct") return { ...unicast, ifindex: route.ifindex };
  if (!kernel.overlay?.up) throw new Error("ENETDOWN");
  return { ...unicast, ifindex: kernel.overlay.ifindex, onlink: true, encap: route.encap };
}

/** Milliseconds of processor time that `work` takes: the machine may have other work. */
export function cpuMs(work: () => void): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}
