/** Which endpoints serve a Service's port. */
import { type Backend, backendsWithout, compareBackends } from "../model/frontend.ts";
import type { Endpoint, EndpointPort, Service, ServicePort } from "../model/objects.ts";
import type { ClusterState } from "../model/state.ts";
import { addressValue } from "../net/address.ts";
import { type Locality, nearness } from "./topology.ts";

/** A slice, or a subset of an Endpoints object: every endpoint has every port. */
export interface EndpointGroup {
  ports: readonly EndpointPort[];
  endpoints: readonly Endpoint[];
  /** Weight of each endpoint; undefined: the Service's. */
  weight?: number;
}

/** What a port's connections go to. */
interface Selection {
  /** In order of address and port, each address and port once. */
  backends: readonly Backend[];
  /** Endpoints of the port that were not taken. */
  draining: readonly Backend[];
}

/** Both selections of a port; a traffic policy says which one counts where. */
export interface PortBackends {
  /** Of the whole cluster (policy Cluster). */
  cluster: Selection;
  /** Of this node (policy Local). */
  local: Selection;
  /** Whether some endpoint, anywhere, could be used. */
  any: boolean;
  /** Whether any group has the port at all. */
  portKnown: boolean;
}

/** Weight of the Pod behind an endpoint; undefined: it has none of its own. */
export type PodWeight = (endpoint: Endpoint) => number | undefined;

/** The groups of a Service, in a stable order: its slices, or its Endpoints when it has no slice. */
export function endpointGroups(state: ClusterState, service: string): EndpointGroup[] {
  const slices = state.slices.get(service);
  if (slices === undefined) return state.endpoints.get(service)?.subsets ?? [];
  return [...slices].sort(([a], [b]) => a < b ? -1 : 1).map(([, slice]) => slice);
}

/** With publishNotReadyAddresses all endpoints count as ready. */
export function isReady(service: Service, { ready }: Endpoint): boolean {
  return ready || service.publishNotReadyAddresses;
}

const nothing: Selection = { backends: [], draining: [] };

/** An endpoint's backend and whence it comes. */
interface Candidate {
  backend: Backend;
  endpoint: Endpoint;
}

/**
 * Ready endpoints; when there is none, those that still serve while they terminate (KEP-1669), for each policy on its
 * own. Topology hints count for ready endpoints and the policy Cluster only.
 *
 * @param wanted the other selections are empty
 */
export function selectBackends(
  service: Service,
  port: ServicePort,
  groups: readonly EndpointGroup[],
  locality: Locality,
  wanted: { cluster: boolean; local: boolean } = { cluster: true, local: true },
  podWeight?: PodWeight,
): PortBackends {
  const ready: Candidate[] = [], fallback: Candidate[] = [], others: Candidate[] = [];
  let portKnown = false;
  for (const group of groups) {
    for (const { name, protocol, port: number } of group.ports) {
      // Slices name a Service's ports by the Service's names (KEP-752).
      if (name !== port.name || protocol !== port.protocol) continue;
      portKnown = true;
      const common = group.weight ?? service.weight ?? 1;
      for (const endpoint of group.endpoints) {
        const { address: addr, terminating } = endpoint;
        const weight = podWeight?.(endpoint) ?? common;
        const value = addressValue(addr);
        const backend = { addr, value, port: number, weight, terminating };
        const list = isReady(service, endpoint)
          ? ready
          : endpoint.serving && terminating
          ? fallback
          : others;
        list.push({ backend, endpoint });
      }
    }
  }
  const lists = [ready, fallback, others];
  return {
    cluster: wanted.cluster ? select([near(service, ready, locality), fallback], lists) : nothing,
    local: wanted.local
      ? select([here(ready, locality), here(fallback, locality)], lists)
      : nothing,
    any: ready.length + fallback.length > 0,
    portKnown,
  };
}

function near(
  service: Service,
  ready: readonly Candidate[],
  locality: Locality,
): readonly Candidate[] {
  const isNear = nearness(service, ready.map(({ endpoint }) => endpoint), locality);
  return isNear === undefined ? ready : ready.filter(({ endpoint }) => isNear(endpoint));
}

function here(list: readonly Candidate[], { nodeName }: Locality): readonly Candidate[] {
  return list.filter(({ endpoint }) => endpoint.nodeName === nodeName);
}

/** The first of `choices` that has any, and what it leaves of all. */
function select(
  choices: readonly (readonly Candidate[])[],
  all: readonly (readonly Candidate[])[],
): Selection {
  const taken = choices.find(({ length }) => length > 0) ?? [];
  const backends = unique(taken);
  // Most often all are taken, and there is nothing to compare.
  const count = all.reduce((sum, { length }) => sum + length, 0);
  return {
    backends,
    draining: count === taken.length ? [] : backendsWithout(unique(all.flat()), backends),
  };
}

/** In order, each once; of duplicates across slices the one that is not terminating, then the heavier one. */
function unique(candidates: readonly Candidate[]): Backend[] {
  const list = candidates.map(({ backend }) => backend);
  const inOrder = list.every((one, i) => i === 0 || compareBackends(list[i - 1]!, one) < 0);
  if (inOrder) return list;
  list.sort((a, b) =>
    compareBackends(a, b) || Number(a.terminating) - Number(b.terminating) || b.weight - a.weight
  );
  return list.filter((one, i) => i === 0 || compareBackends(list[i - 1]!, one) !== 0);
}
