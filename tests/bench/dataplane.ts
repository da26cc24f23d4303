/** pcnk's data plane for the benchmarks: installed, filled, put on the pods' devices and taken off again. */
import { createLog } from "../../src/agent/log.ts";
import { Reconciler } from "../../src/agent/reconciler.ts";
import { attach, type AttachMode, detach } from "../../src/bpf/attach.ts";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { withNetns } from "../../src/linux/netns.ts";
import type { EndpointSlice, Service } from "../../src/model/objects.ts";
import type { ServicePort } from "./kubeproxy.ts";
import type { Stage } from "./stage.ts";
import type { BenchPod, Topology } from "./topology.ts";

const PROTOCOLS = ["TCP", "UDP"] as const;

/** Installs a data plane of its own below the stage's folder, knowing both pods. */
export function installPcnk(stage: Stage, topology: Topology, name: string): DataPlane {
  const { nl, client, server, bridge } = topology;
  const plane = installDataPlane({ bpffs: `${stage.dir}/${name}`, nl });
  stage.defer(() => plane.close());
  for (const pod of [client, server]) addEndpoint(plane, pod, pod.addr, bridge.addr);
  return plane;
}

/** Makes `addr` an address of a pod. */
export function addEndpoint(plane: DataPlane, pod: BenchPod, addr: string, gateway: string): void {
  plane.maps.endpoints.set({ addr }, { ifindex: pod.ifindex, mac: pod.mac, gateway });
}

/** Fills services and backends, TCP and UDP, as the agent does it. */
export function fillServices(plane: DataPlane, services: readonly ServicePort[]): void {
  const reconciler = new Reconciler({
    maps: plane.maps,
    nodeName: "bench",
    log: createLog("error", "bench"),
    resyncMs: 3_600_000,
    complete: () => true,
  });
  reconciler.changes(services.flatMap((service, i) => [
    { type: "upsert", object: serviceObject(service, i) } as const,
    { type: "upsert", object: sliceObject(service, i) } as const,
  ]));
  reconciler.start();
  reconciler.stop();
}

function serviceObject({ addr, port }: ServicePort, i: number): Service {
  return {
    kind: "Service",
    namespace: "bench",
    name: `service-${i}`,
    type: "ClusterIP",
    clusterIPs: [addr],
    headless: false,
    ports: PROTOCOLS.map((protocol) => ({ name: protocol, protocol, port, targetPort: port })),
    publishNotReadyAddresses: false,
    internalTrafficPolicy: "Cluster",
    affinitySeconds: 0,
  };
}

function sliceObject({ port, backends }: ServicePort, i: number): EndpointSlice {
  return {
    kind: "EndpointSlice",
    namespace: "bench",
    name: `service-${i}-abcde`,
    serviceName: `service-${i}`,
    addressType: "IPv4",
    ports: PROTOCOLS.map((protocol) => ({
      name: protocol,
      protocol,
      port: backends[0]?.port ?? port,
    })),
    endpoints: backends.map(({ addr }) => ({
      address: addr,
      ready: true,
      serving: true,
      terminating: false,
    })),
  };
}

function hooks(topology: Topology, bpffs: string) {
  const { nl, client, server, bridge } = topology;
  return [
    { ifindex: client.ifindex, direction: "ingress", name: "lbrp_from_pod" } as const,
    { ifindex: server.ifindex, direction: "ingress", name: "lbrp_from_pod" } as const,
    { ifindex: bridge.ifindex, direction: "egress", name: "lbrp_to_pod" } as const,
  ].map((hook) => ({ ...hook, bpffs, nl }));
}

/** Puts the programs on, as the plugin and the agent do. */
export function attachPcnk(topology: Topology, plane: DataPlane, mode: AttachMode): void {
  withNetns(topology.node, () => {
    for (const hook of hooks(topology, plane.bpffs)) {
      attach({ ...hook, programFd: plane.programFd(hook.name), mode });
    }
  });
}

/** Takes the programs off. */
export function detachPcnk(topology: Topology, plane: DataPlane): void {
  withNetns(topology.node, () => hooks(topology, plane.bpffs).forEach(detach));
}
