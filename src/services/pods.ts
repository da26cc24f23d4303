/** Weights that Pods have of their own. */
import type { Endpoint, Pod } from "../model/objects.ts";
import type { ClusterState } from "../model/state.ts";
import { endpointGroups, type PodWeight } from "./endpoints.ts";

/**
 * Weights by endpoint, for the Services of a namespace. An endpoint names its Pod (targetRef); one that does not
 * belongs to the Pod with its address. Undefined when no Pod has a weight, which is the rule.
 */
export function podWeights(
  pods: ReadonlyMap<string, Pod>,
): ((namespace: string) => PodWeight) | undefined {
  if (pods.size === 0) return undefined;
  const byAddress = new Map<string, number>();
  for (const { namespace, podIPs, weight } of pods.values()) {
    for (const ip of podIPs) if (weight !== undefined) byAddress.set(`${namespace}/${ip}`, weight);
  }
  return (namespace) => ({ pod, address }) =>
    pod === undefined
      ? byAddress.get(`${namespace}/${address}`)
      : pods.get(`${namespace}/${pod}`)?.weight;
}

/** The Services that have some of these Pods behind them. Looks through all endpoints, once for all Pods. */
export function servicesOfPods(state: ClusterState, pods: ReadonlySet<Pod>): string[] {
  if (pods.size === 0) return [];
  const affected = new Set<string>();
  for (const { namespace, name, podIPs } of pods) {
    for (const one of [name, ...podIPs]) affected.add(`${namespace}/${one}`);
  }
  const found: string[] = [];
  for (const [service, { namespace }] of state.services) {
    const isAffected = ({ pod, address }: Endpoint) =>
      affected.has(`${namespace}/${pod ?? address}`);
    const groups = endpointGroups(state, service);
    if (groups.some(({ endpoints }) => endpoints.some(isAffected))) found.push(service);
  }
  return found;
}
