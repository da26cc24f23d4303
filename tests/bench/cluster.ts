/** A large cluster as objects and as manifests, and what the maps hold of it. */
import type { DataPlaneMaps } from "../../src/bpf/dataplane.ts";
import { SCOPE } from "../../src/bpf/layout.ts";
import type { Endpoint, EndpointSlice, Service } from "../../src/model/objects.ts";

const NAMESPACE = "bench";
const PORT = 80, TARGET_PORT = 8080;

/** How large. */
interface ClusterSize {
  services: number;
  /** Of each service. */
  backends: number;
}

/** What the benchmarks' bars speak of. */
export const LARGE: ClusterSize = { services: 10_000, backends: 10 };

/** The address of service number `i`. */
export function clusterIP(i: number): string {
  return dotted(0x0a600001 + i); // 10.96.0.1
}

/** A backend of service number `i`; all are different. `generation`: the backend that came in its place. */
export function backendAddress(i: number, j: number, generation = 0): string {
  return dotted(0x0af40000 + (i * 16 + j) % 0x40000 + generation * 0x40000); // 10.244.0.0
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((bits) => (address >>> bits) & 255).join(".");
}

export function serviceObject(i: number): Service {
  return {
    kind: "Service",
    namespace: NAMESPACE,
    name: `service-${i}`,
    type: "ClusterIP",
    clusterIPs: [clusterIP(i)],
    headless: false,
    ports: [{ name: "http", protocol: "TCP", port: PORT, targetPort: TARGET_PORT }],
    publishNotReadyAddresses: false,
    internalTrafficPolicy: "Cluster",
    affinitySeconds: 0,
  };
}

/** The slice of service number `i`; its first backend is the one of `generation`. */
export function sliceObject(i: number, backends: number, generation = 0): EndpointSlice {
  return {
    kind: "EndpointSlice",
    namespace: NAMESPACE,
    name: `service-${i}-abcde`,
    serviceName: `service-${i}`,
    addressType: "IPv4",
    ports: [{ name: "http", protocol: "TCP", port: TARGET_PORT }],
    endpoints: Array.from({ length: backends }, (_, j): Endpoint => ({
      address: backendAddress(i, j, j === 0 ? generation : 0),
      ready: true,
      serving: true,
      terminating: false,
      nodeName: `node${j}`,
    })),
  };
}

/** Service and slice number `i` as YAML. */
export function manifest(i: number, backends: number, generation = 0): string {
  const endpoints = sliceObject(i, backends, generation).endpoints.map(({ address, nodeName }) =>
    `- addresses: ["${address}"]\n  nodeName: ${nodeName}\n` +
    "  conditions: {ready: true, serving: true, terminating: false}\n"
  );
  return `apiVersion: v1
kind: Service
metadata: {name: service-${i}, namespace: ${NAMESPACE}}
spec:
  type: ClusterIP
  clusterIP: ${clusterIP(i)}
  clusterIPs: ["${clusterIP(i)}"]
  selector: {app: service-${i}}
  ports:
  - {name: http, protocol: TCP, port: ${PORT}, targetPort: ${TARGET_PORT}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: service-${i}-abcde
  namespace: ${NAMESPACE}
  labels: {kubernetes.io/service-name: service-${i}}
addressType: IPv4
ports:
- {name: http, protocol: TCP, port: ${TARGET_PORT}}
endpoints:
${endpoints.join("")}`;
}

/** Writes the cluster's manifests into `folder`, a hundred services a file and the last one alone in `last.yaml`. */
export function writeManifests(folder: string, { services, backends }: ClusterSize): void {
  Deno.mkdirSync(folder, { recursive: true });
  const last = services - 1;
  for (let first = 0; first < last; first += 100) {
    const count = Math.min(100, last - first);
    const documents = Array.from({ length: count }, (_, i) => manifest(first + i, backends));
    Deno.writeTextFileSync(`${folder}/services-${first}.yaml`, documents.join("---\n"));
  }
  Deno.writeTextFileSync(`${folder}/last.yaml`, manifest(last, backends));
}

/** Addresses that the maps have for the backends of service number `i`. */
export function backendsOf({ services, backends }: DataPlaneMaps, i: number): string[] {
  const key = { addr: clusterIP(i), port: PORT, proto: 6, scope: SCOPE.CLUSTER };
  const entry = services.get(key);
  return entry ? backends.range(entry.first, entry.count).map(({ addr }) => addr) : [];
}
