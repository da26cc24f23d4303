/**
 * What is to be done so that the kernel holds what is planned. Pure: both sides are values, so that a restarted agent,
 * an update and a full comparison are the same code, and a second run has nothing to do.
 *
 * Ours is: the overlay device and all on it, and routes of protocol ROUTE_PROTOCOL. Nothing else is ever removed or
 * replaced. The order is make before break: what packets need is there before what sends packets that way.
 */
import { describeHeld, type HeldRoute, type Step } from "./steps.ts";
import { type DeviceDiff, diffDevice } from "./diff_device.ts";
import type { HeldNeighbour, KernelRouting } from "./kernel.ts";
import type { PlannedRoute, Problem, Remote, RoutingPlan } from "./types.ts";

/**
 * The mark of our routes: `ip route show proto 112`. No number of iproute2's rt_protos, and not static (4), which network
 * managers take for their own.
 */
export const ROUTE_PROTOCOL = 112;

/** Metric of the route behind the bridge's own: any other to the same prefix wins. */
export const UNREACHABLE_METRIC = 65535;

const NEIGHBOUR_PERMANENT = 0x80;

/** Steps in order, and what stands in the way. */
export interface RoutingDiff {
  steps: Step[];
  problems: Problem[];
}

/** Compares. `node` is this node's name, for the problems. */
export function diffRouting(plan: RoutingPlan, kernel: KernelRouting, node = ""): RoutingDiff {
  if (!plan.usable) return { steps: [], problems: [] };
  const problems: Problem[] = [];
  const device = diffDevice(plan, kernel, node, problems);
  const routes = diffRoutes(plan, kernel, device, node, problems);
  const neighbours = diffNeighbours(plan, kernel, device);
  const remotes = diffRemotes(plan, kernel, device);
  const steps = [
    ...device.before,
    ...diffSysctls(plan, kernel, device),
    ...device.after,
    ...neighbours.set,
    ...routes.set,
    ...remotes.set,
    ...remotes.gone,
    ...routes.gone,
    ...neighbours.gone,
    ...device.last,
  ];
  return { steps, problems };
}

function diffSysctls(plan: RoutingPlan, { sysctls }: KernelRouting, device: DeviceDiff): Step[] {
  const own = plan.device && `/conf/${plan.device.name}/`;
  const number = (name: string) => Number(sysctls.get(name) ?? 0);
  return plan.sysctls.filter(({ name, value, when }) => {
    const ofOverlay = own !== undefined && name.includes(own);
    if (ofOverlay && device.missing) return false;
    const held = ofOverlay && device.fresh ? undefined : sysctls.get(name);
    if (when === "strict") {
      // A new device starts with the default; the kernel goes by the greater of its own and conf/all.
      const own = held === undefined ? number("net/ipv4/conf/default/rp_filter") : Number(held);
      return Math.max(own, number("net/ipv4/conf/all/rp_filter")) === 1;
    }
    return held === undefined ? ofOverlay && device.fresh : held !== value;
  }).map((sysctl) => ({ do: "set-sysctl", sysctl }));
}

/** Steps that put something there, and steps that take something away. */
interface SetAndGone {
  set: Step[];
  gone: Step[];
}

function diffRoutes(
  { routes }: RoutingPlan,
  kernel: KernelRouting,
  device: DeviceDiff,
  node: string,
  problems: Problem[],
): SetAndGone {
  const [ours, foreign] = [new Map<string, HeldRoute>(), new Map<string, HeldRoute>()];
  const set: Step[] = [];
  const gone: Step[] = [];
  for (const route of kernel.routes) {
    if (route.ifindex !== undefined && device.going.has(route.ifindex)) continue;
    const key = routeKey(route.destination, route.metric ?? 0);
    if (route.protocol !== ROUTE_PROTOCOL) foreign.set(key, route);
    else if (!ours.has(key)) ours.set(key, route);
    else gone.push({ do: "delete-route", route });
  }
  for (const route of routes) {
    if (route.type === "overlay" && device.missing) continue;
    const key = routeKey(route.destination, metricOf(route));
    const held = ours.get(key);
    ours.delete(key);
    if (held !== undefined) {
      if (!sameRoute(held, route, device.ifindex)) set.push({ do: "replace-route", route });
      continue;
    }
    const taken = foreign.get(key);
    if (taken === undefined) set.push({ do: "add-route", route });
    else if (route.type !== "unreachable") problems.push(takenProblem(node, taken));
  }
  for (const route of ours.values()) gone.push({ do: "delete-route", route });
  return { set, gone };
}

/** What makes a route one with another: one of them replaces the other. */
function routeKey(destination: string, metric: number): string {
  return `${destination} ${metric}`;
}

function metricOf(route: PlannedRoute): number {
  return route.type === "unreachable" ? UNREACHABLE_METRIC : 0;
}

function sameRoute(held: HeldRoute, route: PlannedRoute, overlay: number | undefined): boolean {
  if (held.mtu !== undefined || held.source !== undefined) return false;
  if (route.type === "unreachable") return held.type === "unreachable";
  if (held.type !== "unicast" || held.gateway !== route.gateway) return false;
  if (route.type === "direct") {
    return held.ifindex === route.ifindex && held.encap === undefined && !held.onlink;
  }
  return held.ifindex === overlay && held.onlink === true &&
    held.encap?.id === route.encap.id && held.encap.destination === route.encap.destination;
}

function takenProblem(node: string, taken: HeldRoute): Problem {
  const message = `another route stands where one of ours belongs (${describeHeld(taken)}, ` +
    `protocol ${taken.protocol}): what made it is still at work, or left it; ` +
    `remove it with ip route del ${taken.destination}`;
  return { code: "route-taken", node, message };
}

function diffNeighbours(
  { neighbours }: RoutingPlan,
  kernel: KernelRouting,
  device: DeviceDiff,
): SetAndGone {
  if (device.missing) return { set: [], gone: [] };
  const held = new Map<string, HeldNeighbour>();
  if (!device.fresh && !device.flushed) {
    for (const neighbour of kernel.neighbours) held.set(neighbour.address, neighbour);
  }
  const permanent = ({ state = 0 }: HeldNeighbour) => (state & NEIGHBOUR_PERMANENT) !== 0;
  const set: Step[] = [];
  for (const neighbour of neighbours) {
    const has = held.get(neighbour.address);
    held.delete(neighbour.address);
    if (has === undefined || !permanent(has) || has.mac !== neighbour.mac) {
      set.push({ do: "set-neighbour", neighbour });
    }
  }
  const gone = [...held.values()].filter(permanent)
    .map(({ address }): Step => ({ do: "delete-neighbour", address }));
  return { set, gone };
}

function diffRemotes(
  { remotes }: RoutingPlan,
  kernel: KernelRouting,
  { missing }: DeviceDiff,
): SetAndGone {
  if (kernel.remotes === undefined) return { set: [], gone: [] };
  const held = new Map(kernel.remotes);
  const set: Step[] = [];
  for (const remote of remotes) {
    if (remote.mode === "overlay" && missing) continue;
    const has = held.get(remote.prefix);
    held.delete(remote.prefix);
    if (has === undefined || !sameRemote(has, remote)) set.push({ do: "set-remote", remote });
  }
  const gone = [...held.keys()].map((prefix): Step => ({ do: "delete-remote", prefix }));
  return { set, gone };
}

function sameRemote(a: Remote, b: Remote): boolean {
  return a.mode === b.mode && a.nodeAddr === b.nodeAddr && a.mac === b.mac;
}
