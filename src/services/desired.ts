/**
 * What the data plane shall hold for all Services, kept up as objects change: only the Services that a change touches
 * are worked out anew.
 */
import { type Frontend, frontendKey } from "../model/frontend.ts";
import type { Service } from "../model/objects.ts";
import { applyChange, type Change, type ClusterState, emptyState } from "../model/state.ts";
import { endpointGroups } from "./endpoints.ts";
import { claimedAddresses, frontendsOf } from "./frontends.ts";
import type { ServiceFrontends, ServiceIssue } from "./frontends.ts";

/**
 * One round of changes, or of everything. Services are worked out one by one while `groups` is iterated, which must be
 * done to its end, once; only then are `removed` and `issues` complete.
 */
export interface DesiredRound {
  /** Services that were worked out anew, also ones without frontends. */
  groups: Iterable<ServiceFrontends>;
  /** Keys (`frontendKey()`) that have ceased to be desired since `settled()` was last called. */
  removed: Iterable<string>;
  /** Issues that were not there before the round. */
  issues: ServiceIssue[];
}

interface ServiceRecord {
  claims: readonly string[];
  keys: readonly string[];
  issues: readonly string[];
}

const none: readonly never[] = [];

/** Everything desired of `state`. */
export function desiredFrontends(state: ClusterState, nodeName: string): Frontend[] {
  const { groups } = new DesiredState(nodeName, state).round();
  return [...groups].flatMap(({ frontends }) => frontends);
}

export class DesiredState {
  private readonly records = new Map<string, ServiceRecord>();
  /** The Services that claim an address, the one that has it first. */
  private readonly claims = new Map<string, string[]>();
  private dirty = new Set<string>();
  private readonly removed = new Set<string>();

  constructor(private readonly nodeName: string, readonly state: ClusterState = emptyState()) {
    for (const service of state.services.keys()) this.dirty.add(service);
    this.settleClaims();
  }

  apply(change: Change) {
    for (const service of applyChange(this.state, change)) this.dirty.add(service);
  }

  /** Has the next round look at a Service again though nothing about it changed. */
  touch(service: string) {
    this.dirty.add(service);
  }

  /** Works out what changed since the last round, or with `all` everything. */
  round(all = false): DesiredRound {
    this.settleClaims();
    if (all) { for (const service of this.state.services.keys()) this.dirty.add(service); }
    const { dirty, removed } = this;
    this.dirty = new Set();
    const issues: ServiceIssue[] = [];
    return { groups: this.work(dirty, issues), removed, issues };
  }

  /** What the rounds so far came to is in the maps. */
  settled() {
    this.removed.clear();
  }

  private *work(services: Set<string>, issues: ServiceIssue[]): Generator<ServiceFrontends> {
    const kept = new Set<string>();
    for (const service of services) {
      const group = this.group(service);
      const before = this.records.get(service);
      const keys = group.frontends.map(frontendKey);
      for (const key of before?.keys ?? []) this.removed.add(key);
      // An address may go from one Service to another in one round.
      for (const key of keys) kept.add(key);
      const known = before?.issues ?? none;
      issues.push(...group.issues.filter(({ message }) => !known.includes(message)));
      const messages = group.issues.length === 0
        ? none
        : group.issues.map(({ message }) => message);
      if (!this.state.services.has(service)) this.records.delete(service);
      else this.records.set(service, { claims: before?.claims ?? none, keys, issues: messages });
      yield group;
    }
    for (const key of kept) this.removed.delete(key);
  }

  private group(key: string): ServiceFrontends {
    const service = this.state.services.get(key);
    if (service === undefined) return { service: key, frontends: [], issues: [] };
    const addresses: string[] = [];
    const conflicts: ServiceIssue[] = [];
    for (const address of claimedAddresses(service)) {
      const [owner] = this.claims.get(address) ?? [];
      if (owner === undefined || owner === key) addresses.push(address);
      else {
        const message = `address ${address} belongs to Service ${owner}, which is older`;
        conflicts.push({ service: key, reason: "AddressConflict", message });
      }
    }
    const groups = endpointGroups(this.state, key);
    const result = frontendsOf(service, addresses, groups, this.nodeName);
    return { ...result, issues: [...conflicts, ...result.issues] };
  }

  /** Brings the claims of dirty Services up to date; a Service that wins or loses an address becomes dirty too. */
  private settleClaims() {
    const touched = new Map<string, string | undefined>();
    for (const key of [...this.dirty]) {
      const service = this.state.services.get(key);
      const now = service === undefined ? [] : claimedAddresses(service);
      const before = this.records.get(key)?.claims ?? [];
      for (const address of new Set([...before, ...now])) {
        const owners = this.claims.get(address) ?? [];
        if (!touched.has(address)) touched.set(address, owners[0]);
        const others = owners.filter((owner) => owner !== key);
        this.setClaims(address, now.includes(address) ? [...others, key] : others);
      }
      this.record(key, now);
    }
    for (const [address, before] of touched) {
      const now = this.claims.get(address)?.[0];
      for (const key of [before, now]) if (key !== undefined && before !== now) this.dirty.add(key);
    }
  }

  private record(key: string, claims: readonly string[]) {
    const { keys = none, issues = none } = this.records.get(key) ?? {};
    if (claims.length + keys.length > 0) this.records.set(key, { claims, keys, issues });
  }

  private setClaims(address: string, owners: string[]) {
    if (owners.length === 0) this.claims.delete(address);
    else this.claims.set(address, owners.sort((a, b) => this.compare(a, b)));
  }

  /** The older Service first (one without a creationTimestamp last), then by name. */
  private compare(a: string, b: string): number {
    const age = (service: Service | undefined) => service?.createdAt ?? Infinity;
    const [one, other] = [age(this.state.services.get(a)), age(this.state.services.get(b))];
    return one === other ? (a < b ? -1 : 1) : one - other;
  }
}
