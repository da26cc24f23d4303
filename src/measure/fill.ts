/** Services into the maps, as many as one likes. */
import { createLog } from "../agent/log.ts";
import { systemClock } from "../agent/runner.ts";
import { Reconciler } from "../agent/services/reconciler.ts";
import type { DataPlane } from "../bpf/dataplane.ts";
import type { EndpointSlice, Service } from "../model/objects.ts";
import type { ServicePort } from "./kubeproxy.ts";

const PROTOCOLS = ["TCP", "UDP"] as const;

/** Fills services and backends, TCP and UDP, as the agent does it. */
export function fillServices(
  { maps }: Pick<DataPlane, "maps">,
  services: readonly ServicePort[],
): void {
  const reconciler = new Reconciler({
    maps,
    nodeName: "bench",
    log: createLog("error", "bench"),
    resyncMs: 3_600_000,
    complete: () => true,
    clock: { ...systemClock, now: () => 0 }, // no time passes: all in one slice
  });
  reconciler.changes(services.flatMap((service, i) => [
    { type: "upsert", object: serviceObject(service, i) } as const,
    { type: "upsert", object: sliceObject(service, i) } as const,
  ]));
  void reconciler.start();
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
