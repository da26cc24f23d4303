/** Which endpoints serve a Service's port. */
import { parseIpv4 } from "../model/ipv4.ts";
import type { Backend } from "../model/frontend.ts";
import type { Endpoint, EndpointPort, Service, ServicePort } from "../model/objects.ts";
import type { ClusterState } from "../model/state.ts";

/** A slice, or a subset of an Endpoints object: every endpoint has every port. */
export interface EndpointGroup {
  ports: readonly EndpointPort[];
  endpoints: readonly Endpoint[];
  /** Weight of each endpoint; undefined: the Service's. */
  weight?: number;
}

/** What a port's connections go to. */
export interface Selection {
  /** In order of address and port, each address and port once. */
  backends: Backend[];
  /** Endpoints of the port that were not taken. */
  draining: Backend[];
  /** Whether any group has the port at all. */
  portKnown: boolean;
}

/** The groups of a Service, in a stable order: its slices, or its Endpoints when it has no slice. */
export function endpointGroups(state: ClusterState, service: string): EndpointGroup[] {
  const slices = state.slices.get(service);
  if (slices === undefined) return state.endpoints.get(service)?.subsets ?? [];
  return [...slices].sort(([a], [b]) => a < b ? -1 : 1).map(([, slice]) => slice);
}

interface Candidate extends Backend {
  endpoint: Endpoint;
  /** addr and port as one number, to order and compare. */
  key: number;
}

/**
 * Ready endpoints; when there is none, those that still serve while they terminate (KEP-1669). With
 * publishNotReadyAddresses all of them, with internalTrafficPolicy Local those of this node only.
 */
export function selectBackends(
  service: Service,
  port: ServicePort,
  groups: readonly EndpointGroup[],
  nodeName: string,
): Selection {
  const { candidates, portKnown } = collect(service, port, groups);
  const near = service.internalTrafficPolicy === "Local"
    ? candidates.filter(({ endpoint }) => endpoint.nodeName === nodeName)
    : candidates;
  let taken = service.publishNotReadyAddresses
    ? near
    : near.filter(({ endpoint }) => endpoint.ready);
  if (taken.length === 0) {
    taken = near.filter(({ endpoint }) => endpoint.serving && endpoint.terminating);
  }
  const backends = unique(taken);
  const keys = new Set(taken.map(({ key }) => key));
  const draining = unique(candidates.filter(({ key }) => !keys.has(key)));
  return { backends, draining, portKnown };
}

/** Every endpoint that has the port. Slices name a Service's ports by the Service's names (KEP-752). */
function collect(service: Service, port: ServicePort, groups: readonly EndpointGroup[]) {
  const candidates: Candidate[] = [];
  let portKnown = false;
  for (const group of groups) {
    for (const { name, protocol, port: number } of group.ports) {
      if (name !== port.name || protocol !== port.protocol) continue;
      portKnown = true;
      const weight = group.weight ?? service.weight ?? 1;
      for (const endpoint of group.endpoints) {
        const { address: addr, terminating } = endpoint;
        const key = (parseIpv4(addr) ?? 0) * 65536 + number;
        candidates.push({ addr, port: number, weight, terminating, endpoint, key });
      }
    }
  }
  return { candidates, portKnown };
}

/** In order, each once; of duplicates across slices the one that is not terminating, then the heavier one. */
function unique(candidates: Candidate[]): Backend[] {
  const sorted = candidates.toSorted((a, b) =>
    a.key - b.key || Number(a.terminating) - Number(b.terminating) || b.weight - a.weight
  );
  return sorted.filter(({ key }, i) => key !== sorted[i - 1]?.key)
    .map(({ addr, port, weight, terminating }) => ({ addr, port, weight, terminating }));
}
