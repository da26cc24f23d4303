/** A large cluster as objects of the Kubernetes API (pure). Numbers, addresses and names are those of cluster.ts. */
import { backendAddress, clusterIP } from "./cluster.ts";

export const API_NAMESPACE = "bench";
/** Of services and their backends. */
export const API_PORT = 8080;

/** How large, and where the services lead. */
export interface ApiCluster {
  services: number;
  /** How many backends a service has, each another; or one address for all of them. */
  backends: number | string;
  nodes: number;
}

/** The address of service number `i`: the API server takes the first of its range for itself. */
export function apiServiceAddress(i: number): string {
  return clusterIP(i + 4095); // 10.96.16.0
}

/** For POST to `servicesPath`. */
export function serviceBody(i: number) {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: `service-${i}` },
    spec: {
      clusterIP: apiServiceAddress(i),
      ports: [{ name: "http", protocol: "TCP", port: API_PORT, targetPort: API_PORT }],
    },
  };
}

/** For POST to `endpointsPath`. */
export function endpointsBody(i: number, { backends }: Pick<ApiCluster, "backends">) {
  return {
    apiVersion: "v1",
    kind: "Endpoints",
    // No controller that makes slices of them may run, but if one did, it should not.
    metadata: {
      name: `service-${i}`,
      labels: { "endpointslice.kubernetes.io/skip-mirror": "true" },
    },
    subsets: subsets(
      typeof backends === "string"
        ? [backends]
        : Array.from({ length: backends }, (_, j) => backendAddress(i, j)),
    ),
  };
}

/** Endpoints that are all ready, on nodes in turns. */
export function subsets(addresses: readonly string[]) {
  return [{
    addresses: addresses.map((ip, j) => ({ ip, nodeName: `node-${j}` })),
    ports: [{ name: "http", protocol: "TCP", port: API_PORT }],
  }];
}

/** For POST to `/api/v1/nodes`; a /24 of 11.0.0.0/8 each, and an address of 172.16.0.0/12. */
export function nodeBody(i: number) {
  const high = Math.floor(i / 250), low = i % 250 + 1;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: `node-${i}`, labels: { "kubernetes.io/hostname": `node-${i}` } },
    spec: { podCIDR: `11.${i >> 8}.${i & 255}.0/24`, podCIDRs: [`11.${i >> 8}.${i & 255}.0/24`] },
    status: {
      addresses: [
        { type: "InternalIP", address: `172.16.${high}.${low}` },
        { type: "Hostname", address: `node-${i}` },
      ],
      conditions: [{
        type: "Ready",
        status: "True",
        reason: "KubeletReady",
        message: "kubelet is posting ready status",
        lastHeartbeatTime: "2026-01-01T00:00:00Z",
        lastTransitionTime: "2026-01-01T00:00:00Z",
      }],
    },
  };
}
