/** What happens in a running agent. parts.ts says which part emits each event, and which listen. */
import type { RtEvent } from "../linux/rtnl_monitor.ts";
import type { Change } from "../model/state.ts";
import type { ServiceSync } from "./services/reconciler.ts";

/** Each event with its value. */
export interface AgentEvents {
  /** Cluster objects came, changed or went. */
  objects: readonly Change[];
  /** Nodes whose settings in etcd changed. */
  nodeSettings: readonly string[];
  /** Live settings in the configuration file changed; their keys. */
  configFile: readonly string[];
  /** Links, addresses, routes or device parameters of this node changed. */
  rtnetlink: readonly RtEvent[];
  /** The podCIDRs that the VPC routes to their nodes; undefined: none. */
  vpcRoutes: ReadonlySet<string> | undefined;
  servicesSynced: ServiceSync;
  servicesFailed: void;
  /** An object was mended; its row in the table of objects. */
  objectMended: string;
  /** The node's objects were checked. */
  objectsChecked: void;
  /** A second went by: what no event reports may have changed. */
  second: void;
  networkSynced: void;
}

/** Calls listeners at once, in the order in which they were added. One that throws keeps no event from the others. */
export class Emitter<Events> {
  readonly #failed: (error: unknown, name: keyof Events) => void;
  readonly #listeners = new Map<keyof Events, ((value: never) => unknown)[]>();

  /** @param failed called with what a listener throws */
  constructor(failed: (error: unknown, name: keyof Events) => void) {
    this.#failed = failed;
  }

  on<Name extends keyof Events>(name: Name, ...added: ((value: Events[Name]) => unknown)[]) {
    this.#listeners.set(name, [...this.#listeners.get(name) ?? [], ...added]);
  }

  emit<Name extends keyof Events>(name: Name, value: Events[Name]) {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(value as never);
      } catch (error) {
        this.#failed(error, name);
      }
    }
  }
}
