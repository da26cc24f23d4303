/** Which endpoints serve a Service's port. */
import { type Backend, backendKey } from "../model/frontend.ts";
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
  const ready: Backend[] = [], fallback: Backend[] = [], others: Backend[] = [];
  let portKnown = false;
  for (const group of groups) {
    for (const { name, protocol, port: number } of group.ports) {
      // Slices name a Service's ports by the Service's names (KEP-752).
      if (name !== port.name || protocol !== port.protocol) continue;
      portKnown = true;
      const weight = group.weight ?? service.weight ?? 1;
      for (const endpoint of group.endpoints) {
        const { address: addr, terminating } = endpoint;
        const key = backendKey(addr, number);
        listFor(endpoint).push({ addr, port: number, weight, terminating, key });
      }
    }
  }
  function listFor({ ready: isReady, serving, terminating, nodeName: node }: Endpoint): Backend[] {
    if (service.internalTrafficPolicy === "Local" && node !== nodeName) return others;
    if (isReady || service.publishNotReadyAddresses) return ready;
    return serving && terminating ? fallback : others;
  }
  const [taken, left] = ready.length > 0 ? [ready, [...fallback, ...others]] : [fallback, others];
  const backends = unique(taken!);
  return { backends, draining: without(unique(left!), backends), portKnown };
}

/** In order, each once; of duplicates across slices the one that is not terminating, then the heavier one. */
function unique(list: Backend[]): Backend[] {
  const inOrder = list.every(({ key }, i) => i === 0 || list[i - 1]!.key < key);
  if (inOrder) return list;
  list.sort((a, b) =>
    a.key - b.key || Number(a.terminating) - Number(b.terminating) || b.weight - a.weight
  );
  return list.filter(({ key }, i) => key !== list[i - 1]?.key);
}

function without(list: Backend[], others: readonly Backend[]): Backend[] {
  if (list.length === 0) return list;
  const keys = new Set(others.map(({ key }) => key));
  return list.filter(({ key }) => !keys.has(key));
}
