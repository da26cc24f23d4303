/**
 * Carries steps out. A step that fails is reported and does not keep the others from being tried: what it leaves undone
 * is found again by the next comparison.
 */
import { SyscallError } from "../../linux/libc.ts";
import type { Route } from "../../linux/rtnetlink.ts";
import { GUARD_METRIC, ROUTE_PROTOCOL } from "../../routing/diff.ts";
import type { RoutingKernel } from "./read.ts";
import { describeStep, type Step } from "../../routing/steps.ts";
import type { OverlayDevice, PlannedRoute } from "../../routing/types.ts";

/** A step that could not be done. */
export interface StepFailure {
  step: Step;
  /** What was to be done, and why it could not be. */
  message: string;
  error: unknown;
}

/** What became of the steps. */
export interface Applied {
  failures: StepFailure[];
  /** Index of the overlay device, for the data plane's configuration; undefined: there is none. */
  overlay?: number;
}

/** Thrown for a step that needs the overlay device when that could not be made: one failure says it all. */
class NoOverlay extends Error {}

/** Applies steps in their order; `device` is the overlay device's name. */
export function applySteps(
  steps: readonly Step[],
  kernel: RoutingKernel,
  device: string,
): Applied {
  const applier = new Applier(kernel, device);
  const failures: StepFailure[] = [];
  for (const step of steps) {
    try {
      applier.apply(step);
    } catch (error) {
      if (error instanceof NoOverlay) continue;
      const text = error instanceof Error ? error.message : String(error);
      const hint = applier.hint(step, error);
      if (step.do === "create-device" || step.do === "set-device") applier.giveUpOverlay();
      failures.push({ step, error, message: `cannot ${describeStep(step)}: ${text}${hint}` });
    }
  }
  const overlay = applier.overlay();
  return { failures, ...(overlay === undefined ? {} : { overlay }) };
}

class Applier {
  #ifindex: number | undefined;
  #givenUp = false;
  #port: number | undefined;

  constructor(private readonly kernel: RoutingKernel, private readonly device: string) {}

  /** Index of the overlay device, looked up once. */
  overlay(): number | undefined {
    if (this.#ifindex === undefined) {
      const link = this.kernel.nl.link(this.device);
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

  apply(step: Step): void {
    const { nl, tunnel, remotes } = this.kernel;
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
        return tunnel.setChecksumOffload(this.device, step.on);
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
      case "set-neighbour":
        return nl.replaceNeigh({ ifindex: this.#overlay(), ...step.neighbour });
      case "delete-neighbour":
        nl.delNeigh({ ifindex: this.#overlay(), address: step.address });
        return;
      case "add-route":
        return this.#addRoute(step.route);
      case "replace-route":
        return nl.replaceRoute(this.#route(step.route));
      case "delete-route":
        nl.delRoute(step.route as Route);
        return;
      case "set-remote":
        return remotes?.set(step.remote);
      case "delete-remote":
        return remotes?.delete(step.prefix);
    }
  }

  /** Not up yet: kernel parameters and the checksum setting come first. */
  #create({ name, port, mac, mtu }: OverlayDevice) {
    this.#port = port;
    this.kernel.nl.addLink({
      kind: "vxlan",
      name,
      mac,
      mtu,
      vxlan: { external: true, learning: false, port },
    });
  }

  #setSysctl(name: string, value: string) {
    try {
      this.kernel.writeSysctl(name, value);
    } catch (error) {
      // The kernel has no IPv6, or the device could not be made, which has been said.
      if (error instanceof SyscallError && error.code === "ENOENT") throw new NoOverlay();
      throw error;
    }
  }

  #deleteBroadcast({ address, ifindex }: { address: string; ifindex: number }) {
    const destination = `${address}/32`;
    const table = 255;
    this.kernel.nl.delRoute({ destination, ifindex, type: "broadcast", table, protocol: 2 });
  }

  #addRoute(route: PlannedRoute) {
    if (this.kernel.nl.addRoute(this.#route(route))) return;
    throw new Error("a route to it has appeared meanwhile");
  }

  #route(route: PlannedRoute): Route {
    const { destination } = route;
    const common = { destination, protocol: ROUTE_PROTOCOL };
    if (route.type === "guard") return { ...common, type: "unreachable", metric: GUARD_METRIC };
    const { gateway } = route;
    if (route.type === "direct") return { ...common, gateway, ifindex: route.ifindex };
    return { ...common, gateway, ifindex: this.#overlay(), onlink: true, encap: route.encap };
  }

  /** Who has the UDP port, when that is why the device cannot be made or set up. */
  hint(step: Step, error: unknown): string {
    const busy = error instanceof SyscallError && ["EEXIST", "EADDRINUSE"].includes(error.code);
    if (!busy || (step.do !== "create-device" && step.do !== "set-device")) return "";
    const { tunnel } = this.kernel;
    const vxlans = tunnel.vxlans();
    const port = this.#port ?? vxlans.find(({ name }) => name === this.device)?.port;
    const others = vxlans.filter((link) => link.port === port && link.name !== this.device);
    const who = others.length > 0
      ? `device ${others.map(({ name }) => name).join(", ")} has`
      : "something else has";
    return `; ${who} UDP port ${port}: remove it, or set overlay.port to another one on all nodes`;
  }
}
