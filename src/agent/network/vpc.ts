/**
 * This node in its cloud's network, for as long as its setting vpcMode says so: the VPC leads the podCIDR here, and the
 * ways that it has to other nodes are told to routing. The SDK is loaded when it is needed and not before.
 */
import { Backoff, pause } from "../../cluster/kube/backoff.ts";
import type { Node } from "../../model/objects.ts";
import type { Change } from "../../model/state.ts";
import { routingAnnotations } from "../../routing/annotations.ts";
import type { Aws, AwsOptions } from "../../vpc/aws.ts";
import type { ObjectHandler } from "../sources/object_source.ts";
import type { Log } from "../log.ts";
import { readState, removeState, type StateFiles, writeState } from "../../node/state_files.ts";

export interface VpcOptions {
  nodeName: string;
  stateDir: string;
  log: Log;
  /** Told which podCIDRs the cloud leads to their nodes; undefined: none. */
  changed: (routes: ReadonlySet<string> | undefined) => void;
  /** Milliseconds between looks at the cloud. */
  everyMs?: number;
  aws?: AwsOptions;
}

/** Milliseconds that a stop waits for calls to the cloud under way. */
const stopMs = 2000;

type Kept = StateFiles["vpc"];

export class Vpc implements ObjectHandler {
  #wanted: { podCIDR: string; address: string } | undefined;
  #kept: Kept | undefined;
  /** Nodes in the cloud's network: another one means a look soon. */
  readonly #members = new Set<string>();
  readonly #ending = new AbortController();
  #waking = new AbortController();
  #running: Promise<void> | undefined;
  #failure: { reason: string; since: number } | undefined;
  readonly #options: VpcOptions;

  constructor(options: VpcOptions) {
    this.#options = options;
    this.#kept = readState(options.stateDir, "vpc");
  }

  /** For health. */
  get failing(): { reason: string; sinceMs: number } | undefined {
    if (this.#failure === undefined) return undefined;
    return { reason: this.#failure.reason, sinceMs: performance.now() - this.#failure.since };
  }

  changes(changes: readonly Change[]) {
    let any = false;
    for (const { type, object } of changes) {
      if (object.kind !== "Node") continue;
      const inVpc = type === "upsert" &&
        routingAnnotations(object.annotations ?? {}).vpcMode !== undefined;
      any = (inVpc ? !this.#members.has(object.name) : this.#members.has(object.name)) || any;
      if (inVpc) this.#members.add(object.name);
      else this.#members.delete(object.name);
      if (object.name !== this.#options.nodeName) continue;
      const wanted = inVpc ? wish(object) : undefined;
      any = JSON.stringify(wanted) !== JSON.stringify(this.#wanted) || any;
      this.#wanted = wanted;
    }
    if (any) this.#waking.abort();
  }

  /** When the cluster's objects are known. What was there before is used at once. */
  start() {
    if (this.#wanted !== undefined && this.#kept?.podCIDR === this.#wanted.podCIDR) {
      this.#options.changed(new Set(this.#kept.routes));
    }
    this.#running = this.#run();
  }

  /** The cloud goes on leading here. */
  async stop() {
    this.#ending.abort();
    this.#waking.abort();
    const late = new AbortController();
    await Promise.race([this.#running, pause(stopMs, late.signal)]);
    late.abort();
  }

  async #run() {
    const { signal } = this.#ending;
    const backoff = new Backoff({ firstMs: 2000, longestMs: 60_000 });
    while (!signal.aborted) {
      this.#waking = new AbortController();
      let ms = this.#options.everyMs ?? 30_000;
      try {
        if (this.#wanted !== undefined || this.#kept !== undefined) await this.#round();
        backoff.reset();
        this.#working();
      } catch (error) {
        ms = backoff.next();
        this.#failed(error as Error);
      }
      if (!signal.aborted) await pause(ms * (0.9 + Math.random() / 5), this.#waking.signal);
    }
  }

  async #round() {
    const { log, changed, stateDir, aws: options = {} } = this.#options;
    const { Aws } = await import("../../vpc/aws.ts");
    const aws = new Aws(options);
    try {
      const wanted = this.#wanted, kept = this.#kept;
      if (kept !== undefined && kept.podCIDR !== wanted?.podCIDR) {
        if (wanted === undefined) changed(undefined); // the tunnel first, then the cloud
        await this.#takeBack(aws, kept, wanted === undefined);
      }
      if (wanted === undefined || this.#ending.signal.aborted) return;
      const { done, ...state } = await aws.ensure(wanted.podCIDR, wanted.address, kept);
      for (const one of done) log.info({ event: "Vpc" }, one);
      if (JSON.stringify(state) === JSON.stringify(this.#kept)) {
        return changed(new Set(state.routes));
      }
      this.#kept = state;
      writeState(stateDir, "vpc", state);
      changed(new Set(state.routes));
    } finally {
      aws.close();
    }
  }

  /** Of a podCIDR that this node has no more only the route goes. */
  async #takeBack(aws: Aws, kept: Kept, all: boolean) {
    const { checkTurnedOff: _, ...route } = kept;
    for (const done of await aws.remove(all ? kept : route)) {
      this.#options.log.info({ event: "Vpc" }, done);
    }
    if (!all) return;
    this.#kept = undefined;
    removeState(this.#options.stateDir, "vpc");
  }

  #working() {
    if (this.#failure !== undefined) {
      this.#options.log.info({ event: "VpcGood" }, "the VPC is set up again");
    }
    this.#failure = undefined;
  }

  #failed({ message }: Error) {
    const isNew = this.#failure?.reason !== message;
    this.#failure = { reason: message, since: this.#failure?.since ?? performance.now() };
    if (isNew) {
      this.#options.log.warn({ event: "VpcFailed" }, `vpcMode aws: ${message}; tried again`);
    }
  }
}

/** The route that leads to this node in the VPC, in words, while it is on record. */
export function vpcRoute(stateDir: string): string | undefined {
  const kept = readState(stateDir, "vpc");
  return kept && `${kept.podCIDR} in route table ${kept.routeTableId} (${kept.region})`;
}

/**
 * For an uninstaller, when no agent runs any more: takes away the route that leads to this node, and turns the check on
 * again where it was turned off. Does nothing when there is none. Returns in words what was done.
 * @throws Error with a message for the user
 */
export async function removeVpcRoute(
  stateDir: string,
  options: AwsOptions = {},
): Promise<string[]> {
  const kept = readState(stateDir, "vpc");
  if (kept === undefined) return [];
  const { Aws } = await import("../../vpc/aws.ts");
  const aws = new Aws(options);
  try {
    const done = await aws.remove(kept);
    removeState(stateDir, "vpc");
    return done;
  } finally {
    aws.close();
  }
}

function wish({ podCIDRs, internalIPs }: Node): { podCIDR: string; address: string } | undefined {
  const [podCIDR] = podCIDRs, [address] = internalIPs;
  return podCIDR === undefined || address === undefined ? undefined : { podCIDR, address };
}
