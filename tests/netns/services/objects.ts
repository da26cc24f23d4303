/** Services and EndpointSlices as tests write them into a lab's manifests. */
import type { Manifest } from "../../../src/lab/manifests.ts";

/** An endpoint: ready unless it says otherwise. */
export interface End {
  address: string;
  node: string;
  ready?: boolean;
  serving?: boolean;
  terminating?: boolean;
}

/** On the port that the lab's servers listen on. */
const TARGET = 8080;

/** A Service on port 80, TCP and UDP, unless `spec` says otherwise. */
export function serviceObject(
  name: string,
  clusterIP: string,
  spec: Record<string, unknown> = {},
  status?: Record<string, unknown>,
): Manifest {
  const { nodePort, protocols = ["TCP", "UDP"], ...rest } = spec as {
    nodePort?: number;
    protocols?: string[];
  };
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: {
      clusterIP,
      clusterIPs: [clusterIP],
      selector: { app: name },
      ports: protocols.map((protocol) => ({
        name: protocol.toLowerCase(),
        protocol,
        port: 80,
        targetPort: TARGET,
        ...(nodePort === undefined ? {} : { nodePort }),
      })),
      ...(nodePort === undefined ? {} : { type: "NodePort" }),
      ...rest,
    },
    ...(status === undefined ? {} : { status }),
  };
}

/** Its EndpointSlice. */
export function sliceObject(name: string, ends: readonly End[], port = TARGET): Manifest {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-1`,
      namespace: "default",
      labels: { "kubernetes.io/service-name": name },
    },
    addressType: "IPv4",
    ports: ["TCP", "UDP"].map((protocol) => ({
      name: protocol.toLowerCase(),
      protocol,
      port,
    })),
    endpoints: ends.map((
      { address, node, ready = true, serving = ready, terminating = false },
    ) => ({ addresses: [address], conditions: { ready, serving, terminating }, nodeName: node })),
  };
}
