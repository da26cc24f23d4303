/**
 * VPC mode (setting vpcMode of this node): keeps the VPC's route to this node's podCIDR, and reports which podCIDRs the
 * VPC routes to other nodes. The SDK is loaded when it is first needed.
 */
import { Backoff, pause } from "../../cluster/kube/backoff.ts";
import type { Node } from "../../model/objects.ts";
import type { NodeSettings } from "../../model/node_settings.ts";
import type { Change } from "../../model/state.ts";
import type { Aws, AwsOptions } from "../../vpc/aws.ts";
import type { Log } from "../log.ts";
import { readState, removeState, type StateFiles, writeState } from "../../node/state_files.ts";

interface VpcOptions {
  nodeName: string;
  stateDir: string;
  log: Log;
  /** The settings of a node that are in effect. */
  settingsOf: (node: string) => NodeSettings;
  /** Called with the podCIDRs that the VPC routes to their nodes; undefined: none. */
  changed: (routes: ReadonlySet<string> | undefined) => void;
  /** Milliseconds between two syncs with the cloud. */
  everyMs?: number;
  aws?: AwsOptions;
}

/** Milliseconds that stop() waits for calls to the cloud. */
const stopMs = 2000;

type VpcRecord = StateFiles["vpc"];

export class Vpc {
  #wanted: { podCIDR: string; address: string } | undefined;
  #record: VpcRecord | undefined;
  readonly #nodes = new Map<string, Node>();
  /** Nodes in VPC mode: another one means a sync soon. */
  readonly #members = new Set<string>();
  readonly #ending = new AbortController();
  #waking = new AbortController();
  #running: Promise<void> | undefined;
  #failure: { reason: string; since: number } | undefined;
  readonly #options: VpcOptions;

  constructor(options: VpcOptions) {
    this.#options = options;
    this.#record = readState(options.stateDir, "vpc");
  }

  /** For health. */
  get failing(): { reason: string; sinceMs: number } | undefined {
    if (this.#failure === undefined) return undefined;
    return { reason: this.#failure.reason, sinceMs: performance.now() - this.#failure.since };
  }

  changes(changes: readonly Change[]) {
    const names: string[] = [];
    for (const { type, object } of changes) {
      if (object.kind !== "Node") continue;
      names.push(object.name);
      if (type === "delete") this.#nodes.delete(object.name);
      else this.#nodes.set(object.name, object);
    }
    this.settingsChanged(names);
  }

  /** Nodes that may have entered VPC mode, or left it. */
  settingsChanged(names: readonly string[]) {
    const { nodeName, settingsOf } = this.#options;
    let changed = false;
    for (const name of names) {
      const node = this.#nodes.get(name);
      const member = node !== undefined && settingsOf(name).vpcMode === "aws";
      if (member !== this.#members.has(name)) changed = true;
      if (member) this.#members.add(name);
      else this.#members.delete(name);
      if (name !== nodeName) continue;
      const wanted = member ? wish(node) : undefined;
      if (JSON.stringify(wanted) !== JSON.stringify(this.#wanted)) changed = true;
      this.#wanted = wanted;
    }
    if (changed) this.#waking.abort();
  }

  /** Call it when the cluster's objects are known. The routes on record count until the cloud answers. */
  start() {
    if (this.#wanted !== undefined && this.#record?.podCIDR === this.#wanted.podCIDR) {
      this.#options.changed(new Set(this.#record.routes));
    }
    this.#running = this.#run();
  }

  /** The VPC keeps its route to this node. */
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
        if (this.#wanted !== undefined || this.#record !== undefined) await this.#sync();
        backoff.reset();
        this.#working();
      } catch (error) {
        ms = backoff.next();
        this.#failed(error as Error);
      }
      if (!signal.aborted) await pause(ms * (0.9 + Math.random() / 5), this.#waking.signal);
    }
  }

  async #sync() {
    const { log, changed, stateDir, aws: options = {} } = this.#options;
    const { Aws } = await import("../../vpc/aws.ts");
    const aws = new Aws(options);
    try {
      const wanted = this.#wanted, kept = this.#record;
      if (kept !== undefined && kept.podCIDR !== wanted?.podCIDR) {
        if (wanted === undefined) changed(undefined); // the tunnel first, then the cloud
        await this.#takeBack(aws, kept, wanted === undefined);
      }
      if (wanted === undefined || this.#ending.signal.aborted) return;
      const { done, ...state } = await aws.ensure(wanted.podCIDR, wanted.address, kept);
      for (const one of done) log.info({ event: "Vpc" }, one);
      if (JSON.stringify(state) === JSON.stringify(this.#record)) {
        return changed(new Set(state.routes));
      }
      this.#record = state;
      writeState(stateDir, "vpc", state);
      changed(new Set(state.routes));
    } finally {
      aws.close();
    }
  }

  /** Removes what is on record; of a podCIDR that this node lost only the route. */
  async #takeBack(aws: Aws, kept: VpcRecord, all: boolean) {
    const { checkTurnedOff: _, ...route } = kept;
    for (const done of await aws.remove(all ? kept : route)) {
      this.#options.log.info({ event: "Vpc" }, done);
    }
    if (!all) return;
    this.#record = undefined;
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

/** The VPC's route to this node, for a message; undefined: none is on record. */
export function vpcRoute(stateDir: string): string | undefined {
  const kept = readState(stateDir, "vpc");
  return kept && `${kept.podCIDR} in route table ${kept.routeTableId} (${kept.region})`;
}

/**
 * For an uninstaller, when no agent runs any more: takes away the route that leads to this node, and turns the check on
 * again where it was turned off. Does nothing when there is none. Returns what was done, for messages.
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
