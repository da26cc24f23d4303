/** From a Service and its endpoints to what the data plane shall hold for it. Pure. */
import { type Backend, type Frontend, PROTO, SCOPE } from "../model/frontend.ts";
import { objectKey, type Service, type ServicePort } from "../model/objects.ts";
import { type EndpointGroup, selectBackends } from "./endpoints.ts";

/** Something that whoever wrote the objects should know. */
export interface ServiceIssue {
  /** `namespace/name`. */
  service: string;
  reason: "AddressConflict" | "NoAddress" | "ProtocolIgnored" | "PortUnknown";
  message: string;
}

export interface ServiceFrontends {
  /** `namespace/name`. */
  service: string;
  /** The ports' entries before the address entries. */
  frontends: Frontend[];
  issues: ServiceIssue[];
}

const protocols = { TCP: PROTO.tcp, UDP: PROTO.udp, SCTP: undefined } as const;
const none: readonly never[] = [];

/** The addresses that a Service claims, which no other may have. */
export function claimedAddresses(service: Service): string[] {
  if (service.type === "ExternalName" || service.headless) return [];
  return service.clusterIPs.filter((address, i, all) => all.indexOf(address) === i);
}

/**
 * The frontends of one Service: for every address each TCP and UDP port, and the address entry.
 *
 * @param addresses those of `claimedAddresses()` that it may have
 * @param nodeName this node, for internalTrafficPolicy Local
 */
export function frontendsOf(
  service: Service,
  addresses: readonly string[],
  groups: readonly EndpointGroup[],
  nodeName: string,
): ServiceFrontends {
  const key = objectKey(service);
  const issues: ServiceIssue[] = [];
  const tell = (reason: ServiceIssue["reason"], message: string) =>
    issues.push({ service: key, reason, message });
  if (claimedAddresses(service).length === 0) {
    if (service.type !== "ExternalName" && !service.headless) {
      tell("NoAddress", "has no clusterIP; without a Kubernetes API nobody assigns one");
    }
    return { service: key, frontends: [], issues };
  }
  const frontends: Frontend[] = [];
  for (const port of service.ports) {
    const proto = protocols[port.protocol];
    if (proto === undefined) {
      tell("ProtocolIgnored", `port ${port.port}/${port.protocol}: pcnk serves TCP and UDP only`);
      continue;
    }
    const { backends, draining, portKnown } = selectBackends(service, port, groups, nodeName);
    // The slice that Kubernetes makes for a Service without pods has no ports, and that is in order.
    const peopled = groups.filter(({ endpoints }) => endpoints.length > 0);
    if (!portKnown && peopled.length > 0) tell("PortUnknown", unknownPort(port, peopled));
    const portId = `${key}:${port.port}/${port.protocol}`;
    for (const addr of addresses) {
      const where = { addr, port: port.port, proto, scope: SCOPE.cluster, portId };
      frontends.push({ ...where, backends, draining, affinitySeconds: service.affinitySeconds });
    }
  }
  for (const addr of addresses) frontends.push(addressEntry(key, addr));
  return { service: key, frontends, issues };
}

function addressEntry(key: string, addr: string): Frontend {
  return {
    addr,
    port: 0,
    proto: PROTO.none,
    scope: SCOPE.cluster,
    portId: key,
    backends: none as readonly Backend[],
    draining: none as readonly Backend[],
    affinitySeconds: 0,
  };
}

function unknownPort(port: ServicePort, groups: readonly EndpointGroup[]): string {
  const known = new Set(
    groups.flatMap(({ ports }) => ports.map(({ name, protocol }) => `"${name}"/${protocol}`)),
  );
  const have = known.size === 0 ? "no port" : [...known].join(", ");
  return `port "${port.name}"/${port.protocol}: its endpoints have ${have}`;
}
