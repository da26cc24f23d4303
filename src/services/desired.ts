/**
 * What the data plane shall hold for all Services, kept up as objects change: a change recomputes only the Services
 * that it affects.
 */
import type { FrontendKey } from "../model/frontend.ts";
import { type ClusterObject, type LbAlgorithm, objectKey, type Service } from "../model/objects.ts";
import { applyChange, type Change, type ClusterState, emptyState } from "../model/state.ts";
import { ClaimRegister, claimsOf, type ExternalIPs } from "./claims.ts";
import { endpointGroups } from "./endpoints.ts";
import { frontendsOf, type ServiceFrontends, type ServiceIssue } from "./frontends.ts";
import { API_SERVICE, OwnedAddresses } from "./owned_addresses.ts";
import { podWeights, servicesOfPods } from "./pods.ts";
import type { Locality } from "./topology.ts";

/** What a sync found beside the frontends. */
interface DesiredChanges {
  /** Keys that have ceased to be desired since `commit()` was last called, by their texts. */
  removed: ReadonlyMap<string, FrontendKey>;
  /** Issues that were not there before the sync. */
  issues: ServiceIssue[];
  /** The Services that were recomputed. */
  recomputed: ReadonlySet<string>;
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
  /** Which external addresses are served; undefined: `owners`. */
  externalIPs?: ExternalIPs;
}

interface ServiceRecord {
  keys: readonly FrontendKey[];
  issues: readonly string[];
  /** An address was not served, as it is another's. */
  refused: boolean;
  healthPort?: number;
}

const none: readonly never[] = [];

export class DesiredState {
  /** By port; no port twice. */
  readonly healthChecks = new Map<number, HealthCheck>();
  readonly #records = new Map<string, ServiceRecord>();
  readonly #owned = new OwnedAddresses();
  /** It has changed since the last sync. */
  #moved = false;
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
    for (const node of state.nodes.values()) this.#owned.node(undefined, node);
    this.#readApiServer();
  }

  apply(change: Change) {
    const { object } = change;
    const zone = this.#locality.zone;
    const node = object.kind === "Node" ? this.state.nodes.get(object.name) : undefined;
    const pod = object.kind === "Pod" ? this.state.pods.get(objectKey(object)) : undefined;
    for (const service of applyChange(this.state, change)) {
      this.#invalid.add(service);
      if (service === API_SERVICE) this.#readApiServer();
    }
    if (object.kind === "Node") {
      if (this.#owned.node(node, this.state.nodes.get(object.name))) this.#moved = true;
      if (this.#locality.zone !== zone) this.#invalidateAll();
    }
    if (object.kind === "Pod") this.#applyPod(pod, this.state.pods.get(objectKey(object)));
  }

  /** Makes the next sync recompute a Service although it did not change. */
  invalidate(service: string) {
    this.#invalid.add(service);
  }

  /**
   * Recomputes the Services that changed since the last sync, or with `all` every one. Passes each to `add` at once, also
   * one without frontends, so that the frontends of a large cluster are never in memory together. Yields between Services;
   * what changes meanwhile is for the next sync.
   */
  *sync(
    all: boolean,
    add: (group: ServiceFrontends) => void,
  ): Generator<void, DesiredChanges, void> {
    for (const service of servicesOfPods(this.state, this.#pods)) this.#invalid.add(service);
    this.#pods.clear();
    const [recomputed, removed] = [this.#invalid, this.#removed];
    this.#invalid = new Set();
    yield* this.#updateClaims(recomputed);
    if (this.#moved) this.#addMoved(recomputed);
    if (all) { for (const service of this.state.services.keys()) recomputed.add(service); }
    const issues = yield* this.#work(recomputed, add);
    return { removed, issues, recomputed };
  }

  /** The maps hold what the syncs so far found. */
  commit() {
    this.#removed.clear();
  }

  get #locality(): Locality {
    const zone = this.state.nodes.get(this.#nodeName)?.zone;
    return { nodeName: this.#nodeName, zone };
  }

  #readApiServer() {
    const endpoints = endpointGroups(this.state, API_SERVICE).flatMap(({ endpoints }) => endpoints);
    if (this.#owned.apiServer(new Set(endpoints.map(({ address }) => address)))) this.#moved = true;
  }

  /** Adds Services that may lose an address to a node, a pod or the API server, or get one back. */
  #addMoved(services: Set<string>) {
    this.#moved = false;
    for (const service of this.#claims.external) services.add(service);
    for (const [service, { refused }] of this.#records) if (refused) services.add(service);
    for (const [key, { clusterIPs }] of this.state.services) {
      if (clusterIPs.some((one) => this.#owned.ownerOf(one) !== undefined)) services.add(key);
    }
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

  *#work(
    services: ReadonlySet<string>,
    add: (group: ServiceFrontends) => void,
  ): Generator<void, ServiceIssue[], void> {
    const issues: ServiceIssue[] = [];
    const kept = new Set<string>();
    const freed: [number, string][] = [];
    const context = {
      locality: this.#locality,
      ownerOf: (claim: string) => this.#claims.ownerOf(claim),
      ownedBy: (address: string) => this.#owned.ownerOf(address),
      externalIPs: this.#options.externalIPs,
      podWeights: podWeights(this.state.pods),
    };
    for (const key of services) {
      yield;
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
    const refused = issues.some(({ reason }) => reason === "AddressConflict");
    const record: ServiceRecord = { keys, issues: messages, refused };
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

  /** Brings the claims of Services up to date, and adds to them those that win or lose something by it. */
  *#updateClaims(services: Set<string>) {
    const { state } = this;
    const { externalIPs } = this.#options;
    const claims = function* (keys: readonly string[]) {
      for (const key of keys) yield [key, claimsOf(state.services.get(key), externalIPs)] as const;
    };
    for (const service of yield* this.#claims.update(claims([...services]))) services.add(service);
  }

  /** The older Service first (one without a creationTimestamp last), then by name. */
  #compare(a: string, b: string): number {
    const age = (service: Service | undefined) => service?.createdAt ?? Infinity;
    const [one, other] = [age(this.state.services.get(a)), age(this.state.services.get(b))];
    return one === other ? (a < b ? -1 : 1) : one - other;
  }
}
