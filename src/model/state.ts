/** All objects of the cluster, indexed so that one change finds the Services it affects. */
import { type ClusterObject, objectKey } from "./objects.ts";
import type { Endpoints, EndpointSlice, Node, Pod, Service } from "./objects.ts";

/** One object appeared or changed (`object`), or went (`object` is what it last was). */
export interface Change {
  type: "upsert" | "delete";
  object: ClusterObject;
}

export interface ClusterState {
  /** By `namespace/name`. */
  services: Map<string, Service>;
  /** By the `namespace/name` of their Service, then by their own. */
  slices: Map<string, Map<string, EndpointSlice>>;
  /** By `namespace/name`, which is that of their Service. */
  endpoints: Map<string, Endpoints>;
  /** By name. */
  nodes: Map<string, Node>;
  /** The Service that a slice counts to, by the slice's `namespace/name`. */
  sliceOwners: Map<string, string>;
  /** Pods with a weight, by `namespace/name`. All others do not matter. */
  pods: Map<string, Pod>;
}

export function emptyState(): ClusterState {
  return {
    services: new Map(),
    slices: new Map(),
    endpoints: new Map(),
    nodes: new Map(),
    sliceOwners: new Map(),
    pods: new Map(),
  };
}

/**
 * Applies one change in place; returns the keys of the Services whose entries it may alter. For a Node or a Pod, which
 * may alter those of many, it returns none: the caller compares.
 */
export function applyChange(state: ClusterState, change: Change): string[] {
  const { object } = change;
  const key = objectKey(object);
  const gone = change.type === "delete";
  switch (object.kind) {
    case "Service":
      put(state.services, key, gone ? undefined : object);
      return [key];
    case "Endpoints":
      put(state.endpoints, key, gone ? undefined : object);
      return [key];
    case "Node":
      put(state.nodes, key, gone ? undefined : object);
      return [];
    case "Pod":
      put(state.pods, key, gone || object.weight === undefined ? undefined : object);
      return [];
    case "EndpointSlice":
      return putSlice(state, key, gone ? undefined : object);
  }
}

/** A slice's label may change: it then leaves one Service and joins another. */
function putSlice(state: ClusterState, key: string, slice: EndpointSlice | undefined): string[] {
  const before = state.sliceOwners.get(key);
  const after = slice?.serviceName === undefined
    ? undefined
    : `${slice.namespace}/${slice.serviceName}`;
  if (before !== undefined && before !== after) {
    const rest = state.slices.get(before);
    rest?.delete(key);
    if (rest?.size === 0) state.slices.delete(before);
  }
  put(state.sliceOwners, key, after);
  if (after !== undefined && slice !== undefined) {
    let slices = state.slices.get(after);
    if (slices === undefined) state.slices.set(after, slices = new Map());
    slices.set(key, slice);
  }
  return [before, after].filter((owner, i, all) =>
    owner !== undefined && all.indexOf(owner) === i
  ) as string[];
}

function put<V>(map: Map<string, V>, key: string, value: V | undefined) {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
