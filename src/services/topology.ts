/**
 * Which endpoints are near enough, by the hints that the EndpointSlice controller writes for trafficDistribution and for
 * topology-aware routing (KEP-2433, KEP-3015); the rules are those of kube-proxy's topology.go.
 */
import type { Endpoint, Service } from "../model/objects.ts";

/** The node where traffic starts. */
export interface Locality {
  nodeName: string;
  /** Undefined: the node has no zone label, or is not known. */
  zone?: string | undefined;
}

/** True for an endpoint that may be used from the locality. */
type Nearness = (endpoint: Endpoint) => boolean;

type Hints = Pick<Endpoint, "forZones" | "forNodes">;

const noHints: Hints = {};

/**
 * The choice that the hints of ready endpoints make; undefined: all may be used. Hints for nodes count if every endpoint
 * has some and one names this node, otherwise hints for zones if every endpoint has some and one names this zone.
 *
 * Without any hints (manifests, controllers before Kubernetes 1.30) a trafficDistribution implies those that the
 * controller would write: zone and node of the endpoint itself.
 */
export function nearness(
  service: Service,
  ready: readonly Endpoint[],
  { nodeName, zone }: Locality,
): Nearness | undefined {
  if (ready.length === 0) return undefined;
  const given = ready.some(({ forZones, forNodes }) => forZones ?? forNodes);
  const { trafficDistribution } = service;
  if (!given && trafficDistribution === undefined) return undefined;
  const hintsOf = given
    ? (endpoint: Endpoint): Hints => endpoint
    : (endpoint: Endpoint) => impliedHints(endpoint, trafficDistribution);
  const choose = (key: keyof Hints, here: string | undefined): Nearness | undefined => {
    if (here === undefined) return undefined;
    const lists = ready.map((endpoint) => hintsOf(endpoint)[key]);
    if (lists.some((names) => names === undefined || names.length === 0)) return undefined;
    if (!lists.some((names) => names?.includes(here))) return undefined;
    return (endpoint) => hintsOf(endpoint)[key]?.includes(here) ?? false;
  };
  return choose("forNodes", nodeName) ?? choose("forZones", zone);
}

function impliedHints(
  { zone, nodeName }: Endpoint,
  distribution: Service["trafficDistribution"],
): Hints {
  if (distribution === undefined) return noHints;
  const hints: Hints = {};
  if (zone !== undefined) hints.forZones = [zone];
  if (nodeName !== undefined && distribution === "PreferSameNode") hints.forNodes = [nodeName];
  return hints;
}
