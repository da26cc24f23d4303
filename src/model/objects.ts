/**
 * The fields of Kubernetes objects that pcnk reads. Plain data without I/O; absent fields hold the API's defaults.
 */

/** As in the API: upper case. */
export type Protocol = "TCP" | "UDP" | "SCTP";

/** A port of a Service (core/v1 ServicePort). */
export interface ServicePort {
  /** Empty for the only, unnamed port. */
  name: string;
  protocol: Protocol;
  /** 1 to 65535. */
  port: number;
  /** A number, or the name of a container port. Informative: the slices carry the resolved number. */
  targetPort: number | string;
  /** 1 to 65535; undefined: none. */
  nodePort?: number;
}

/** How a Service's port chooses among backends: each time anew, or by the client (Maglev hashing). */
export type LbAlgorithm = "random" | "maglev";

/** core/v1 Service. */
export interface Service {
  kind: "Service";
  namespace: string;
  name: string;
  /** Milliseconds since the epoch; undefined when the object has no creationTimestamp (a manifest). */
  createdAt?: number;
  type: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName";
  /** IPv4 only; empty for a headless service and one that was not given an address yet. */
  clusterIPs: string[];
  /** `clusterIP: None`. */
  headless: boolean;
  ports: ServicePort[];
  /** `app=web,tier=front`, for people; undefined: none. */
  selector?: string;
  publishNotReadyAddresses: boolean;
  internalTrafficPolicy: "Cluster" | "Local";
  /** sessionAffinity ClientIP: its timeout in seconds; 0 without affinity. */
  affinitySeconds: number;
  /** Annotation `pcnk.io/weight`: weight of each backend, 1 to 10000; undefined: 1. */
  weight?: number;
  /** IPv4, as written; undefined: none. */
  externalIPs?: string[];
  /** status.loadBalancer.ingress: the IPv4 ones whose ipMode is not Proxy; undefined: none. */
  loadBalancerIPs?: string[];
  /** Undefined: Cluster. */
  externalTrafficPolicy?: "Cluster" | "Local";
  /** Of a LoadBalancer with externalTrafficPolicy Local. */
  healthCheckNodePort?: number;
  /**
   * loadBalancerSourceRanges: IPv4 prefixes without host bits; undefined: all clients. Empty when only IPv6 ones are given:
   * then no IPv4 client may connect.
   */
  sourceRanges?: string[];
  /** Undefined: none. PreferClose is the old name of PreferSameZone (KEP-3015). */
  trafficDistribution?: "PreferSameZone" | "PreferSameNode";
  /** Annotation `pcnk.io/lb-algorithm`; undefined: as the node is configured. */
  lbAlgorithm?: LbAlgorithm;
}

/** One address of an EndpointSlice. */
export interface Endpoint {
  /** Dotted quad. */
  address: string;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  nodeName?: string;
  zone?: string;
  /** hints.forZones: the zones this endpoint should serve. */
  forZones?: string[];
  /** hints.forNodes: the nodes this endpoint should serve. */
  forNodes?: string[];
  /** The Pod's name, from targetRef; it is in the namespace of the slice. */
  pod?: string;
}

/** Port of an EndpointSlice. */
export interface EndpointPort {
  name: string;
  protocol: Protocol;
  port: number;
}

/** discovery.k8s.io/v1 EndpointSlice (and v1beta1, brought to this shape). */
export interface EndpointSlice {
  kind: "EndpointSlice";
  namespace: string;
  name: string;
  /** Label kubernetes.io/service-name; undefined: belongs to no Service. */
  serviceName?: string;
  /** IPv4 slices only carry endpoints here; those of others are left out. */
  addressType: string;
  ports: EndpointPort[];
  endpoints: Endpoint[];
  /** Annotation `pcnk.io/weight`: weight of each of these endpoints, 1 to 10000. */
  weight?: number;
}

/** One subset of core/v1 Endpoints, with the addresses' readiness brought to the slices' form. */
interface EndpointSubset {
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

/** core/v1 Endpoints: what slices replaced. Named like its Service. */
export interface Endpoints {
  kind: "Endpoints";
  namespace: string;
  name: string;
  subsets: EndpointSubset[];
}

/** core/v1 Node. */
export interface Node {
  kind: "Node";
  name: string;
  /** type InternalIP, IPv4. */
  internalIPs: string[];
  /** IPv4 prefixes, e.g. 10.244.1.0/24. */
  podCIDRs: string[];
  /** Label topology.kubernetes.io/zone. */
  zone?: string;
  /** Those of pcnk (`pcnk.io/…`), as they were written. */
  annotations?: Record<string, string>;
  /** Condition NetworkUnavailable: there while it is True. */
  networkUnavailable?: true;
  /** Milliseconds since the epoch; undefined for a manifest without one. */
  createdAt?: number;
}

/** core/v1 Pod, for the weight it may have as a backend. */
export interface Pod {
  kind: "Pod";
  namespace: string;
  name: string;
  /** status.podIPs, IPv4. */
  podIPs: string[];
  /** Annotation `pcnk.io/weight`, 1 to 10000: before that of the slice and of the Service. */
  weight?: number;
}

export type ClusterObject = Service | EndpointSlice | Endpoints | Node | Pod;

/** `namespace/name`, or the name alone for a Node. */
export function objectKey(object: ClusterObject): string {
  return object.kind === "Node" ? object.name : `${object.namespace}/${object.name}`;
}

/** `Service default/web`: how messages name an object, and unique in a cluster. */
export function objectTitle(object: ClusterObject): string {
  return `${object.kind} ${objectKey(object)}`;
}
