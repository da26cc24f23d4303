/**
 * From a Service and its endpoints to what the data plane shall hold for it. Pure.
 *
 * | asked for            | address          | from the cluster           | from outside             |
 * |----------------------|------------------|----------------------------|--------------------------|
 * | ClusterIP            | its own          | internalTrafficPolicy      | nothing                  |
 * | external address     | its own          | all endpoints              | externalTrafficPolicy    |
 * | node port            | 0.0.0.0          | all endpoints              | externalTrafficPolicy    |
 *
 * Clients in the cluster have all endpoints behind an external address, as if they had gone out and come in through a
 * load balancer that knows which nodes have some (kube-proxy's short-circuit).
 */
import { PROTO, SCOPE } from "../abi/enums.ts";
import { type Frontend, frontendKey } from "../model/frontend.ts";
import { type LbAlgorithm, objectKey, type Service, type ServicePort } from "../model/objects.ts";
import { ANY_ADDRESS, clusterAddresses, externalAddresses, hasFrontends } from "./claims.ts";
import type { ExternalIPs } from "./claims.ts";
import { hasNodePorts, healthPort, isServable, portClaim, protocolNumber } from "./claims.ts";
import { type EndpointGroup, isReady, type PodWeight, type PortBackends } from "./endpoints.ts";
import { selectBackends } from "./endpoints.ts";
import type { Locality } from "./topology.ts";

/** Something that is wrong with the objects of a Service. */
export interface ServiceIssue {
  /** `namespace/name`. */
  service: string;
  reason:
    | "AddressConflict"
    | "PortConflict"
    | "AddressRefused"
    | "NoAddress"
    | "ProtocolIgnored"
    | "PortUnknown"
    | "BackendRefused"
    | "TooManyBackends";
  message: string;
}

export interface ServiceFrontends {
  /** `namespace/name`. */
  service: string;
  /** The ports' entries before the address entries. */
  frontends: Frontend[];
  issues: ServiceIssue[];
  /** The health check for load balancers, when the Service has one. */
  health?: { port: number; localEndpoints: number } | undefined;
}

/** What a Service's frontends depend on beside itself. */
interface ServiceContext {
  groups: readonly EndpointGroup[];
  /** This node. */
  locality: Locality;
  /** The Service that a ClusterIP or a `portClaim()` belongs to; undefined: none is contested. */
  ownerOf?: (claim: string) => string | undefined;
  /** The node, pods or API server that have an address, for a message; undefined: none. */
  ownedBy?: (address: string) => string | undefined;
  /** Undefined: `owners`. */
  externalIPs?: ExternalIPs | undefined;
  podWeight?: PodWeight | undefined;
  /** Of Services without one of their own; undefined: random. */
  lbAlgorithm?: LbAlgorithm | undefined;
}

const none: readonly never[] = [];
/** Of a Service, over all of its ports: a second of work. */
const maxBackends = 1 << 18;

/** The frontends of one Service: see the table above; for ClusterIPs also the address entry. */
export function frontendsOf(service: Service, context: ServiceContext): ServiceFrontends {
  return new Builder(service, context).build();
}

class Builder {
  readonly #key: string;
  readonly #frontends: Frontend[] = [];
  readonly #issues: ServiceIssue[] = [];
  readonly #keys = new Set<string>();
  /** Endpoints that are ClusterIPs of the Service. */
  readonly #refused = new Set<string>();
  /** Backends of the ports so far. */
  #backends = 0;
  readonly #addresses: readonly string[];
  readonly #external: readonly string[];

  readonly #service: Service;
  readonly #context: ServiceContext;

  constructor(service: Service, context: ServiceContext) {
    this.#service = service;
    this.#context = this.#withoutOwn(context);
    this.#key = objectKey(service);
    this.#addresses = clusterAddresses(service)
      .filter((address) => this.#mayHave(address) && this.#isFree(address, "clusterIP"));
    const { externalIPs } = context;
    this.#external = externalAddresses(service, externalIPs).filter((address) =>
      this.#mayHave(address) && (externalIPs === "on" || this.#isFree(address, "external address"))
    );
  }

  build(): ServiceFrontends {
    const [service, frontends, issues] = [this.#key, this.#frontends, this.#issues];
    if (!hasFrontends(this.#service)) return { service, frontends, issues };
    this.#checkAddresses();
    for (const port of this.#service.ports) this.#addPort(port);
    this.#checkBackends();
    for (const addr of this.#addresses) frontends.push(addressEntry(service, addr));
    return { service, frontends, issues, health: this.#health() };
  }

  #report(reason: ServiceIssue["reason"], message: string) {
    this.#issues.push({ service: this.#key, reason, message });
  }

  /** False, with an issue, when the address is the ClusterIP of another Service. */
  #mayHave(address: string): boolean {
    const owner = this.#context.ownerOf?.(address);
    if (owner === undefined || owner === this.#key) return true;
    const why = this.#service.clusterIPs.includes(address)
      ? `belongs to Service ${owner}, which is older`
      : `is the clusterIP of Service ${owner}`;
    this.#report("AddressConflict", `address ${address} ${why}`);
    return false;
  }

  /** False, with an issue, when the address is a node's, a pod's or the API server's. */
  #isFree(address: string, what: string): boolean {
    const owner = this.#context.ownedBy?.(address);
    if (owner === undefined) return true;
    const remedy = what === "clusterIP"
      ? "give the Service another one"
      : "the setting externalIPs: on serves it all the same";
    this.#report("AddressConflict", `${what} ${address} is an address of ${owner}: ${remedy}`);
    return false;
  }

  /** False, with an issue, when the port is another Service's. */
  #mayHavePort(addr: string, port: number, proto: number, what: string): boolean {
    const owner = this.#context.ownerOf?.(portClaim(addr, port, proto));
    if (owner === undefined || owner === this.#key) return true;
    this.#report("PortConflict", `${what} belongs to Service ${owner}, which is older`);
    return false;
  }

  #checkAddresses() {
    const { clusterIPs, externalIPs = none, loadBalancerIPs = none } = this.#service;
    if (clusterIPs.length === 0) {
      this.#report(
        "NoAddress",
        "has no clusterIP: manifests must set spec.clusterIP, as no API server assigns one",
      );
    }
    for (const address of new Set([...clusterIPs, ...externalIPs, ...loadBalancerIPs])) {
      if (isServable(address)) continue;
      this.#report("AddressRefused", `address ${address} is not one that a Service may have`);
    }
    if (externalIPs.length > 0 && this.#context.externalIPs === "off") {
      this.#report(
        "AddressRefused",
        "its externalIPs are not served: the setting externalIPs is off",
      );
    }
  }

  /** What a packet to such a backend would do again and again. */
  #checkBackends() {
    if (this.#refused.size === 0) return;
    const addresses = [...this.#refused].join(", ");
    this.#report("BackendRefused", `endpoint ${addresses} is a clusterIP of the Service itself`);
  }

  #addPort(port: ServicePort) {
    const [service, context] = [this.#service, this.#context];
    const proto = protocolNumber(port.protocol);
    if (proto === undefined) {
      const message = `port ${port.port}/${port.protocol}: pcnk serves TCP and UDP only`;
      return this.#report("ProtocolIgnored", message);
    }
    if (this.#backends > maxBackends) return;
    const external = this.#external.filter((addr) =>
      this.#mayHavePort(addr, port.port, proto, `${addr}:${port.port}/${port.protocol}`)
    );
    const nodePort = this.#nodePort(port, proto);
    const exposed = external.length > 0 || nodePort !== undefined;
    const insideLocal = service.internalTrafficPolicy === "Local";
    const outsideLocal = exposed && service.externalTrafficPolicy === "Local";
    const wanted = { cluster: exposed || !insideLocal, local: insideLocal || outsideLocal };
    const { groups, locality, podWeight } = context;
    const selected = selectBackends(service, port, groups, locality, wanted, podWeight);
    if (!this.#counted(port, selected)) return;
    this.#checkPort(port, selected);

    const common = this.#common(port);
    const cluster = { ...common, ...selected.cluster };
    const local = { ...common, ...selected.local, localOnly: selected.any };
    const inside = insideLocal ? local : cluster;
    const outside = outsideLocal ? local : cluster;
    for (const addr of this.#addresses) {
      this.#add({ ...inside, key: frontendKey(addr, port.port, proto, SCOPE.CLUSTER) });
    }
    for (const addr of external) {
      const key = (scope: number) => frontendKey(addr, port.port, proto, scope);
      const sourceRanges = this.#sourceRanges(addr);
      this.#add({ ...cluster, sourceRanges, key: key(SCOPE.CLUSTER) });
      this.#add({ ...outside, sourceRanges, key: key(SCOPE.EXTERNAL) });
    }
    if (nodePort !== undefined) {
      const key = (scope: number) => frontendKey(ANY_ADDRESS, nodePort, proto, scope);
      this.#add({ ...cluster, key: key(SCOPE.CLUSTER) });
      this.#add({ ...outside, key: key(SCOPE.EXTERNAL) });
    }
  }

  /** Without endpoints that are ClusterIPs of the Service. */
  #withoutOwn(context: ServiceContext): ServiceContext {
    const { clusterIPs } = this.#service;
    const own = context.groups.flatMap(({ endpoints }) =>
      endpoints.filter(({ address }) => clusterIPs.includes(address))
    );
    if (own.length === 0) return context;
    for (const { address } of own) this.#refused.add(address);
    const groups = context.groups.map((group) => ({
      ...group,
      endpoints: group.endpoints.filter(({ address }) => !clusterIPs.includes(address)),
    }));
    return { ...context, groups };
  }

  /** False, with an issue, from the port on with which the Service has more backends than any map holds. */
  #counted({ port }: ServicePort, { cluster, local }: PortBackends): boolean {
    const before = this.#backends;
    this.#backends += Math.max(cluster.backends.length, local.backends.length);
    if (this.#backends <= maxBackends) return true;
    if (before <= maxBackends) {
      this.#report(
        "TooManyBackends",
        `port ${port} and later ones are left out: more than ${maxBackends} backends of one Service; ` +
          "divide it into several",
      );
    }
    this.#backends = Infinity;
    return false;
  }

  #common(
    { port, protocol }: ServicePort,
  ): Pick<Frontend, "portId" | "affinitySeconds" | "maglev"> {
    const { lbAlgorithm = this.#context.lbAlgorithm, affinitySeconds } = this.#service;
    const portId = { service: this.#key, text: `${this.#key}:${port}/${protocol}` };
    return { portId, affinitySeconds, maglev: lbAlgorithm === "maglev" };
  }

  /** An external address may be a ClusterIP of the same Service: the first entry counts. */
  #add(frontend: Frontend) {
    if (this.#external.length > 0) {
      const { text } = frontend.key;
      if (this.#keys.has(text)) return;
      this.#keys.add(text);
    }
    this.#frontends.push(frontend);
  }

  /** The node port of a port, when it has one and may have it. */
  #nodePort({ nodePort, protocol, port }: ServicePort, proto: number) {
    if (nodePort === undefined || !hasNodePorts(this.#service)) return undefined;
    const what = `nodePort ${nodePort}/${protocol}`;
    const other = this.#service.ports.find((one) =>
      one.nodePort === nodePort && one.protocol === protocol
    );
    if (other?.port !== port) {
      this.#report("PortConflict", `${what} is there twice; port ${other?.port} has it`);
      return undefined;
    }
    return this.#mayHavePort(ANY_ADDRESS, nodePort, proto, what) ? nodePort : undefined;
  }

  /** loadBalancerSourceRanges are about addresses of load balancers only. */
  #sourceRanges(addr: string): Frontend["sourceRanges"] {
    const { sourceRanges, type, loadBalancerIPs } = this.#service;
    const applies = sourceRanges !== undefined && type === "LoadBalancer" &&
      loadBalancerIPs?.includes(addr) && !sourceRanges.includes("0.0.0.0/0");
    return applies ? sourceRanges : undefined;
  }

  #checkPort(port: ServicePort, { portKnown }: PortBackends) {
    if (portKnown) return;
    // The slice that Kubernetes makes for a Service without pods has no ports; that is no issue.
    const populated = this.#context.groups.filter(({ endpoints }) => endpoints.length > 0);
    if (populated.length > 0) this.#report("PortUnknown", unknownPort(port, populated));
  }

  #health(): ServiceFrontends["health"] {
    const [service, context] = [this.#service, this.#context];
    const port = healthPort(service);
    if (port === undefined) return undefined;
    const what = `healthCheckNodePort ${port}`;
    if (service.ports.some(({ nodePort, protocol }) => nodePort === port && protocol === "TCP")) {
      this.#report("PortConflict", `${what} is also a nodePort of the Service`);
      return undefined;
    }
    if (!this.#mayHavePort(ANY_ADDRESS, port, PROTO.TCP, what)) return undefined;
    return { port, localEndpoints: localEndpoints(service, context) };
  }
}

/** Addresses of ready endpoints of this node. */
function localEndpoints(service: Service, { groups, locality }: ServiceContext): number {
  const found = new Set<string>();
  for (const { ports, endpoints } of groups) {
    if (ports.length === 0) continue;
    for (const endpoint of endpoints) {
      const isHere = endpoint.nodeName === locality.nodeName;
      if (isHere && isReady(service, endpoint)) found.add(endpoint.address);
    }
  }
  return found.size;
}

function addressEntry(key: string, addr: string): Frontend {
  return {
    key: frontendKey(addr, 0, PROTO.NONE, SCOPE.CLUSTER),
    portId: { service: key, text: key },
    backends: none,
    draining: none,
    affinitySeconds: 0,
  };
}

/** Ports that a message names. */
const shownPorts = 8;

function unknownPort(port: ServicePort, groups: readonly EndpointGroup[]): string {
  const known = new Set(
    groups.flatMap(({ ports }) => ports.map(({ name, protocol }) => `"${name}"/${protocol}`)),
  );
  const more = known.size > shownPorts ? `, and ${known.size - shownPorts} more` : "";
  const have = known.size === 0 ? "no port" : [...known].slice(0, shownPorts).join(", ") + more;
  return `port "${port.name}"/${port.protocol}: its endpoints have ${have}`;
}
