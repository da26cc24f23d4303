/**
 * The cluster objects of a lab, as the agents read them: Nodes, Services, EndpointSlices (pure, no I/O).
 *
 * Each node has a service of its own (`echo-node1`) whose backends are its own pods, so that services can be tried
 * without a network between the nodes; `echo` has all pods behind it.
 */
import type { LabPlan, NodePlan } from "./plan.ts";
import { SERVER_PORT } from "./plan.ts";

/** The port on which services answer; the pods' servers listen on SERVER_PORT. */
export const SERVICE_PORT = 80;

/** NodePort of the service `nodeport`; `nodeport-local` has the next one. */
export const NODE_PORT = 30080;

/** The services of single nodes have this plus the node's number as NodePort. */
const NODE_PORT_BASE = 30100;

/** A pod that has its address. */
export interface PodAddress {
  name: string;
  node: string;
  address: string;
}

/** A Service of the lab with what is behind it. */
export interface LabService {
  name: string;
  address: string;
  backends: PodAddress[];
  nodePort?: number;
  /** externalTrafficPolicy Local: a node hands what comes from outside to its own pods only. */
  local?: boolean;
  /** The weight of each backend; all the same when absent. */
  weightOf?: (pod: PodAddress) => number;
}

/** An object as it stands in a manifest. */
export type Manifest = { apiVersion: string; kind: string } & Record<string, unknown>;

/** The services of a lab; `pods` are those that are ready. */
export function labServices(plan: LabPlan, pods: PodAddress[]): LabService[] {
  const at = (node: NodePlan) => pods.filter((pod) => pod.node === node.name);
  return [
    { name: "echo", address: "10.96.0.10", backends: pods },
    { name: "empty", address: "10.96.0.11", backends: [] },
    {
      name: "weighted",
      address: "10.96.0.12",
      backends: pods,
      // Every first pod of a node gets three times what the others get.
      weightOf: (pod) => pod.name.endsWith("-1") ? 3 : 1,
    },
    { name: "nodeport", address: "10.96.0.13", backends: pods, nodePort: NODE_PORT },
    {
      name: "nodeport-local",
      address: "10.96.0.14",
      backends: pods,
      nodePort: NODE_PORT + 1,
      local: true,
    },
    ...plan.nodes.map((node) => ({
      name: `echo-${node.name}`,
      address: `10.96.1.${node.index}`,
      backends: at(node),
      nodePort: NODE_PORT_BASE + node.index,
    })),
    ...plan.nodes.flatMap((node) => at(node).map((pod) => selfService(node, pod))),
  ];
}

/** A service with one pod behind it. Its address repeats the pod's: 10.244.1.7 is behind 10.96.11.7. */
function selfService(node: NodePlan, pod: PodAddress): LabService {
  const last = pod.address.slice(pod.address.lastIndexOf(".") + 1);
  return {
    name: `self-${pod.name}`,
    address: `10.96.${10 + node.index}.${last}`,
    backends: [pod],
  };
}

/** The Node objects. */
export function nodeManifests(plan: LabPlan): Manifest[] {
  return plan.nodes.map((node) => ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: node.name, labels: { "kubernetes.io/hostname": node.name } },
    spec: { podCIDR: node.podCIDR, podCIDRs: [node.podCIDR] },
    status: {
      addresses: [
        { type: "InternalIP", address: node.address },
        { type: "Hostname", address: node.name },
      ],
    },
  }));
}

const PROTOCOLS = ["TCP", "UDP"];

/** A Service object for each service. */
export function serviceManifests(services: LabService[]): Manifest[] {
  return services.map(({ name, address, nodePort, local }) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: {
      type: nodePort === undefined ? "ClusterIP" : "NodePort",
      externalTrafficPolicy: local ? "Local" : undefined,
      clusterIP: address,
      clusterIPs: [address],
      selector: { app: name },
      ports: PROTOCOLS.map((protocol) => ({
        name: protocol.toLowerCase(),
        protocol,
        port: SERVICE_PORT,
        targetPort: SERVER_PORT,
        nodePort,
      })),
    },
  }));
}

/**
 * The EndpointSlices: one for each service, also for those with no backend, as the control plane does; of a weighted service
 * one for each weight, which is an annotation of the slice.
 */
export function endpointSliceManifests(services: LabService[]) {
  return services.flatMap(({ name, backends, weightOf }) => {
    if (!weightOf) return [endpointSlice(name, `${name}-lab`, backends)];
    return [...Map.groupBy(backends, weightOf)]
      .map(([weight, group]) => endpointSlice(name, `${name}-lab-${weight}`, group, weight));
  });
}

function endpointSlice(service: string, name: string, backends: PodAddress[], weight?: number) {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name,
      namespace: "default",
      labels: { "kubernetes.io/service-name": service },
      annotations: weight === undefined ? undefined : { "pcnk.io/weight": String(weight) },
    },
    addressType: "IPv4",
    ports: PROTOCOLS.map((protocol) => ({
      name: protocol.toLowerCase(),
      protocol,
      port: SERVER_PORT,
    })),
    endpoints: backends.map((pod) => ({
      addresses: [pod.address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: pod.node,
      targetRef: { kind: "Pod", namespace: "default", name: pod.name },
    })),
  };
}
