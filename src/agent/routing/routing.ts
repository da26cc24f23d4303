/** Brings the kernel's routes, overlay device and sysctls to a plan, and reports what it did. */
import { readSysctl, writeSysctl } from "../../linux/sysctl.ts";
import { RtNetlink } from "../../linux/rtnetlink.ts";
import { TunnelNetlink } from "../../linux/rtnetlink_tunnel.ts";
import { type Applied, applySteps } from "./apply_steps.ts";
import { diffRouting, type RoutingDiff } from "../../routing/diff.ts";
import { readRouting, type RemotesMap, type RoutingKernel } from "./read_kernel.ts";
import type { Step } from "../../routing/steps.ts";
import type { Problem, RoutingPlan } from "../../routing/types.ts";

interface RoutingOptions {
  /** Name of this node. */
  node: string;
  /** Name of the overlay device. */
  device: string;
  /** The data plane's map; left out: there is none. */
  remotes?: RemotesMap;
  /** Network namespace; left out: the present one. */
  netnsPath?: string;
  /** Called before a kernel parameter is changed, so that uninstalling can change it back. */
  sysctlChanges?: (name: string, before: string, after: string) => void;
}

/** What one reconciliation did. */
export interface RoutingReport extends Applied {
  /** All steps that were tried; empty: the kernel holds what is planned. */
  steps: Step[];
  /** Of the plan, and of what the kernel holds against it. */
  problems: Problem[];
}

/** A node's routing. */
export class Routing {
  readonly #kernel: RoutingKernel;
  readonly #options: RoutingOptions;

  constructor(options: RoutingOptions) {
    this.#options = options;
    const { netnsPath, remotes, sysctlChanges } = options;
    const nl = RtNetlink.open(netnsPath);
    try {
      this.#kernel = {
        nl,
        tunnel: TunnelNetlink.open(netnsPath),
        readSysctl: (name) => readSysctl(name, netnsPath),
        writeSysctl: (name, value) => {
          sysctlChanges?.(name, readSysctl(name, netnsPath), value);
          writeSysctl(name, value, netnsPath);
        },
        remotes,
      };
    } catch (error) {
      nl.close();
      throw error;
    }
  }

  /**
   * Brings the kernel to the plan. What is wrong comes back in the report.
   * @throws {SyscallError} when not even reading the kernel's state works
   */
  reconcile(plan: RoutingPlan): RoutingReport {
    const { steps, problems } = this.compare(plan);
    return { ...this.apply(steps), steps, problems: [...plan.problems, ...problems] };
  }

  /** What comes of all that grows with the number of nodes; another text: compare. @throws {SyscallError} */
  fingerprint(): string {
    const { nl, remotes } = this.#kernel;
    const overlay = nl.link(this.#options.device)?.index;
    const neighbours = overlay === undefined ? "" : nl.neighsFingerprint(overlay);
    return [overlay, neighbours, nl.routesFingerprint(), remotes?.fingerprint()].join();
  }

  /** What `reconcile` would do. @throws {SyscallError} */
  compare(plan: RoutingPlan): RoutingDiff {
    const { device, node } = this.#options;
    return diffRouting(plan, readRouting(this.#kernel, device, plan), node);
  }

  /** Carries steps out; reports the failures. */
  apply(steps: readonly Step[]): Applied {
    return applySteps(steps, this.#kernel, this.#options.device);
  }

  close(): void {
    this.#kernel.nl.close();
    this.#kernel.tunnel.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
