/**
 * Carries steps out. A step that fails is reported and does not keep the others from being tried: what it leaves undone
 * is found again by the next comparison.
 */
import { SyscallError } from "../../linux/libc.ts";
import { MOST_REQUESTS, type NetlinkRequest } from "../../linux/netlink.ts";
import type { Route, RtNetlink } from "../../linux/rtnetlink.ts";
import { deleteNeighbourRequest, replaceNeighbourRequest } from "../../linux/rtnl_neigh.ts";
import {
  addRouteRequest,
  deleteRouteRequest,
  replaceRouteRequest,
} from "../../linux/rtnl_route.ts";
import { ROUTE_PROTOCOL, UNREACHABLE_METRIC } from "../../routing/diff.ts";
import type { RoutingKernel } from "./read_kernel.ts";
import { describeStep, type Step } from "../../routing/steps.ts";
import type { OverlayDevice, PlannedRoute, Remote } from "../../routing/types.ts";

/** A step that failed. */
interface StepFailure {
  step: Step;
  /** For the log. */
  message: string;
  error: unknown;
}

/** What became of the steps. */
export interface Applied {
  failures: StepFailure[];
  /** Index of the overlay device, for the data plane's configuration; undefined: there is none. */
  overlay?: number;
}

/** For a step that needs the overlay device when that could not be made: the first failure is enough. */
class NoOverlay extends Error {}

/** Applies steps in their order; `device` is the overlay device's name. */
export function applySteps(
  steps: readonly Step[],
  kernel: RoutingKernel,
  device: string,
): Applied {
  const applier = new Applier(kernel, device);
  const failures: StepFailure[] = [];
  const failed = (step: Step, error: unknown) => {
    if (error instanceof NoOverlay) return;
    const text = error instanceof Error ? error.message : String(error);
    const hint = applier.hint(step, error);
    if (step.do === "create-device" || step.do === "set-device") applier.giveUpOverlay();
    failures.push({ step, error, message: `cannot ${describeStep(step)}: ${text}${hint}` });
  };
  const batch = new Batch(kernel.nl, failed);
  for (const step of steps) {
    try {
      const request = applier.request(step);
      if (request !== undefined) batch.add(step, request);
      else {
        batch.flush();
        applier.apply(step);
      }
    } catch (error) {
      failed(step, error);
    }
  }
  batch.flush();
  return { failures, overlay: applier.overlay() };
}

/** Requests that wait to be sent together: a large cluster takes ten thousand. */
class Batch {
  #waiting: { step: Step; request: NetlinkRequest }[] = [];
  readonly #nl: Pick<RtNetlink, "requestAll">;
  readonly #failed: (step: Step, error: unknown) => void;

  constructor(
    nl: Pick<RtNetlink, "requestAll">,
    failed: (step: Step, error: unknown) => void,
  ) {
    this.#nl = nl;
    this.#failed = failed;
  }

  add(step: Step, request: NetlinkRequest) {
    this.#waiting.push({ step, request });
    if (this.#waiting.length === MOST_REQUESTS) this.flush();
  }

  /** Sends what waits. Never throws: reports each failure. */
  flush() {
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      const failures = this.#nl.requestAll(waiting.map(({ request }) => request));
      for (const [index, error] of failures) {
        const { step } = waiting[index]!;
        const appeared = step.do === "add-route" && error.code === "EEXIST";
        this.#failed(step, appeared ? new Error("a route to it has appeared meanwhile") : error);
      }
    } catch (error) {
      for (const { step } of waiting) this.#failed(step, error);
    }
  }
}

class Applier {
  #ifindex: number | undefined;
  /** Sets entries of `remotes`; undefined after each step that may have changed a device. */
  #setRemote: ((remote: Remote) => void) | undefined;
  #givenUp = false;
  #port: number | undefined;
  readonly #kernel: RoutingKernel;
  readonly #device: string;

  constructor(kernel: RoutingKernel, device: string) {
    this.#kernel = kernel;
    this.#device = device;
  }

  /** Index of the overlay device, looked up once. */
  overlay(): number | undefined {
    if (this.#ifindex === undefined) {
      const link = this.#kernel.nl.link(this.#device);
      if (link?.kind === "vxlan") this.#ifindex = link.index;
    }
    return this.#ifindex;
  }

  /** From now on steps that need the device are left out. */
  giveUpOverlay() {
    this.#givenUp = true;
  }

  #overlay(): number {
    const ifindex = this.#givenUp ? undefined : this.overlay();
    if (ifindex === undefined) throw new NoOverlay();
    return ifindex;
  }

  /** The step as a request that may go with others; undefined: it is one of those that `apply` does. */
  request(step: Step): NetlinkRequest | undefined {
    switch (step.do) {
      case "set-neighbour":
        return replaceNeighbourRequest({ ifindex: this.#overlay(), ...step.neighbour });
      case "delete-neighbour":
        return deleteNeighbourRequest({ ifindex: this.#overlay(), address: step.address });
      case "add-route":
        return addRouteRequest(this.#route(step.route));
      case "replace-route":
        return replaceRouteRequest(this.#route(step.route));
      case "delete-route":
        return deleteRouteRequest(step.route as Route);
      default:
        return undefined;
    }
  }

  /** Does a step by itself. */
  apply(step: Step): void {
    const { nl, tunnel, remotes } = this.#kernel;
    if (step.do === "set-remote") {
      this.#setRemote ??= remotes?.writer();
      return this.#setRemote?.(step.remote);
    }
    if (step.do === "delete-remote") return remotes?.delete(step.prefix);
    this.#setRemote = undefined;
    switch (step.do) {
      case "delete-device":
        nl.delLink(step.ifindex);
        if (step.ifindex === this.#ifindex) this.#ifindex = undefined;
        return;
      case "create-device":
        return this.#create(step.device);
      case "set-device":
        return nl.setLink(this.#overlay(), step.change);
      case "set-checksum-offload":
        this.#overlay();
        return tunnel.setChecksumOffload(this.#device, step.on);
      case "set-sysctl":
        return this.#setSysctl(step.sysctl.name, step.sysctl.value);
      case "add-address":
        nl.addAddr({ ifindex: this.#overlay(), address: step.address, prefixLength: 32 });
        return;
      case "delete-address": {
        const { address, prefixLength } = step;
        nl.delAddr({ ifindex: this.#overlay(), address, prefixLength });
        return;
      }
      case "delete-broadcast":
        return this.#deleteBroadcast(step);
    }
  }

  /** Not up yet: kernel parameters and the checksum setting come first. */
  #create({ name, port, mac, mtu }: OverlayDevice) {
    this.#port = port;
    this.#kernel.nl.addLink({
      kind: "vxlan",
      name,
      mac,
      mtu,
      vxlan: { external: true, learning: false, port },
    });
  }

  #setSysctl(name: string, value: string) {
    try {
      this.#kernel.writeSysctl(name, value);
    } catch (error) {
      // The kernel has no IPv6, or the device could not be made, which is reported.
      if (error instanceof SyscallError && error.code === "ENOENT") throw new NoOverlay();
      throw error;
    }
  }

  #deleteBroadcast({ address, ifindex }: { address: string; ifindex: number }) {
    const destination = `${address}/32`;
    const table = 255;
    this.#kernel.nl.delRoute({ destination, ifindex, type: "broadcast", table, protocol: 2 });
  }

  #route(route: PlannedRoute): Route {
    const { destination } = route;
    const common = { destination, protocol: ROUTE_PROTOCOL };
    if (route.type === "unreachable") {
      return { ...common, type: "unreachable", metric: UNREACHABLE_METRIC };
    }
    const { gateway } = route;
    if (route.type === "direct") return { ...common, gateway, ifindex: route.ifindex };
    return { ...common, gateway, ifindex: this.#overlay(), onlink: true, encap: route.encap };
  }

  /** Who has the UDP port, when that is why the device cannot be made or set up. */
  hint(step: Step, error: unknown): string {
    const busy = error instanceof SyscallError && ["EEXIST", "EADDRINUSE"].includes(error.code);
    if (!busy || (step.do !== "create-device" && step.do !== "set-device")) return "";
    const { tunnel } = this.#kernel;
    const vxlans = tunnel.vxlans();
    const port = this.#port ?? vxlans.find(({ name }) => name === this.#device)?.port;
    const others = vxlans.filter((link) => link.port === port && link.name !== this.#device);
    const who = others.length > 0
      ? `device ${others.map(({ name }) => name).join(", ")} has`
      : "something else has";
    return `; ${who} UDP port ${port}: remove it, or set overlay.port to another one on all nodes`;
  }
}
