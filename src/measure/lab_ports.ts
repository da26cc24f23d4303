/** A laboratory's services as the rules of peers are made from them (pure). */
import { type LabService, SERVICE_PORT } from "../lab/manifests.ts";
import { SERVER_PORT } from "../lab/plan.ts";
import type { ServicePort } from "./kubeproxy.ts";

/** Every port of the services that have backends. */
export function servicePorts(services: readonly LabService[]): ServicePort[] {
  return services.filter(({ backends }) => backends.length > 0).flatMap((service) =>
    (["tcp", "udp"] as const).map((protocol) => ({
      addr: service.address,
      port: SERVICE_PORT,
      protocol,
      backends: service.backends.map(({ address }) => ({ addr: address, port: SERVER_PORT })),
      ...(service.nodePort !== undefined && { nodePort: service.nodePort }),
    }))
  );
}
