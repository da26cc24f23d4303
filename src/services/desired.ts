/**
 * What the data plane shall hold for all Services, kept up as objects change: a change recomputes only the Services
 * that it affects.
 */
import type { FrontendKey } from "../model/frontend.ts";
import { type ClusterObject, type LbAlgorithm, objectKey, type Service } from "../model/objects.ts";
import { applyChange, type Change, type ClusterState, emptyState } from "../model/state.ts";
import { ClaimRegister, claimsOf } from "./claims.ts";
import { endpointGroups } from "./endpoints.ts";
import { frontendsOf, type ServiceFrontends, type ServiceIssue } from "./frontends.ts";
import { podWeights, servicesOfPods } from "./pods.ts";
import type { Locality } from "./topology.ts";

/** What a sync found beside the frontends. */
interface DesiredChanges {
  /** Keys that have ceased to be desired since `commit()` was last called, by their texts. */
  removed: ReadonlyMap<string, FrontendKey>;
  /** Issues that were not there before the sync. */
  issues: ServiceIssue[];
}

/** The response to load balancers at a healthCheckNodePort. */
export interface HealthCheck {
  namespace: string;
  name: string;
  /** Ready endpoints on this node. */
  localEndpoints: number;
}

interface DesiredOptions {
  /** Of Services without one of their own; undefined: random. */
  lbAlgorithm?: LbAlgorithm;
}

interface ServiceRecord {
  keys: readonly FrontendKey[];
  issues: readonly string[];
  healthPort?: number;
}

const none: readonly never[] = [];

export class DesiredState {
  /** By port; no port twice. */
  readonly healthChecks = new Map<number, HealthCheck>();
  readonly #records = new Map<string, ServiceRecord>();
  readonly #claims = new ClaimRegister((a, b) => this.#compare(a, b));
  /** Services to recompute. */
  #invalid = new Set<string>();
  /** Pods whose weight changed, by `namespace/name`; each as it was and as it is. */
  readonly #pods = new Set<ClusterObject & { kind: "Pod" }>();
  readonly #removed = new Map<string, FrontendKey>();

  readonly #nodeName: string;
  readonly #options: DesiredOptions;

  constructor(
    nodeName: string,
    readonly state: ClusterState = emptyState(),
    options: DesiredOptions = {},
  ) {
    this.#nodeName = nodeName;
    this.#options = options;
    for (const service of state.services.keys()) this.#invalid.add(service);
    this.#updateClaims();
  }

  apply(change: Change) {
    const { object } = change;
    const zone = this.#locality.zone;
    const pod = object.kind === "Pod" ? this.state.pods.get(objectKey(object)) : undefined;
    for (const service of applyChange(this.state, change)) this.#invalid.add(service);
    if (object.kind === "Node" && this.#locality.zone !== zone) this.#invalidateAll();
    if (object.kind === "Pod") this.#applyPod(pod, this.state.pods.get(objectKey(object)));
  }

  /** Makes the next sync recompute a Service although it did not change. */
  invalidate(service: string) {
    this.#invalid.add(service);
  }

  /**
   * Recomputes the Services that changed since the last sync, or with `all` every one. Passes each to `add` at once, also
   * one without frontends, so that the frontends of a large cluster are never in memory together.
   */
  sync(all: boolean, add: (group: ServiceFrontends) => void): DesiredChanges {
    for (const service of servicesOfPods(this.state, this.#pods)) this.#invalid.add(service);
    this.#pods.clear();
    this.#updateClaims();
    if (all) this.#invalidateAll();
    const [invalid, removed] = [this.#invalid, this.#removed];
    this.#invalid = new Set();
    return { removed, issues: this.#work(invalid, add) };
  }

  /** The maps hold what the syncs so far found. */
  commit() {
    this.#removed.clear();
  }

  get #locality(): Locality {
    const zone = this.state.nodes.get(this.#nodeName)?.zone;
    return { nodeName: this.#nodeName, zone };
  }

  #invalidateAll() {
    for (const service of this.state.services.keys()) this.#invalid.add(service);
  }

  #applyPod(
    before: (ClusterObject & { kind: "Pod" }) | undefined,
    after: (ClusterObject & { kind: "Pod" }) | undefined,
  ) {
    const same = before?.weight === after?.weight && before?.podIPs.join() === after?.podIPs.join();
    if (same) return;
    for (const pod of [before, after]) if (pod !== undefined) this.#pods.add(pod);
  }

  #work(services: Set<string>, add: (group: ServiceFrontends) => void): ServiceIssue[] {
    const issues: ServiceIssue[] = [];
    const kept = new Set<string>();
    const freed: [number, string][] = [];
    const context = {
      locality: this.#locality,
      ownerOf: (claim: string) => this.#claims.ownerOf(claim),
      podWeights: podWeights(this.state.pods),
    };
    for (const key of services) {
      const service = this.state.services.get(key);
      const group = service === undefined
        ? { service: key, frontends: [], issues: [] }
        : frontendsOf(service, {
          ...context,
          groups: endpointGroups(this.state, key),
          podWeight: context.podWeights?.(service.namespace),
          lbAlgorithm: this.#options.lbAlgorithm,
        });
      const before = this.#records.get(key);
      const keys = group.frontends.map(({ key }) => key);
      for (const one of before?.keys ?? none) this.#removed.set(one.text, one);
      // An address may go from one Service to another in one sync.
      for (const { text } of keys) kept.add(text);
      const known = before?.issues ?? none;
      issues.push(...group.issues.filter(({ message }) => !known.includes(message)));
      if (before?.healthPort !== undefined) freed.push([before.healthPort, key]);
      this.#record(key, service, group, keys);
      add(group);
    }
    for (const key of kept) this.#removed.delete(key);
    for (const [port, key] of freed) this.#dropHealthCheck(port, key);
    return issues;
  }

  #record(
    key: string,
    service: Service | undefined,
    { issues, health }: ServiceFrontends,
    keys: readonly FrontendKey[],
  ) {
    if (service === undefined) return void this.#records.delete(key);
    const messages = issues.length === 0 ? none : issues.map(({ message }) => message);
    const record: ServiceRecord = { keys, issues: messages };
    if (health !== undefined) {
      const { namespace, name } = service;
      const { port, localEndpoints } = health;
      record.healthPort = port;
      this.healthChecks.set(port, { namespace, name, localEndpoints });
    }
    this.#records.set(key, record);
  }

  /** Unless the Service still has it, or another one has it by now. */
  #dropHealthCheck(port: number, key: string) {
    if (this.#records.get(key)?.healthPort === port) return;
    const holder = this.healthChecks.get(port);
    if (holder !== undefined && `${holder.namespace}/${holder.name}` === key) {
      this.healthChecks.delete(port);
    }
  }

  /** Brings the claims of invalid Services up to date; a Service that wins or loses something becomes invalid too. */
  #updateClaims() {
    const { state } = this;
    const invalid = this.#invalid;
    const changes = [...invalid].map((key) => [key, claimsOf(state.services.get(key))] as const);
    for (const service of this.#claims.update(changes)) invalid.add(service);
  }

  /** The older Service first (one without a creationTimestamp last), then by name. */
  #compare(a: string, b: string): number {
    const age = (service: Service | undefined) => service?.createdAt ?? Infinity;
    const [one, other] = [age(this.state.services.get(a)), age(this.state.services.get(b))];
    return one === other ? (a < b ? -1 : 1) : one - other;
  }
}
