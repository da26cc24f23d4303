/**
 * Which Service owns an address or a port that several ask for.
 *
 * A ClusterIP belongs to one Service as a whole, the oldest that names it. An external address may be shared, port by
 * port; each port belongs to the oldest Service that asks for it. No Service gets ports of an address that is the
 * ClusterIP of another, however old it is: the API server assigns ClusterIPs, but every user who may write a Service may
 * write externalIPs (CVE-2020-8554).
 */

import { PROTO } from "../abi/enums.ts";
import type { Protocol, Service } from "../model/objects.ts";
import { isIpv4 } from "../net/ipv4.ts";
import { isLinkLocal, isUnicast } from "../net/scope.ts";

/** What a Service asks for. */
interface Claims {
  /** ClusterIPs. */
  addresses: readonly string[];
  /** externalIPs and load balancer IPs. */
  external: readonly string[];
  /** `portClaim()`s: of external addresses, node ports and the health check. */
  ports: readonly string[];
}

/** Where node ports answer: at every address of the node. */
export const ANY_ADDRESS = "0.0.0.0";

const none: readonly never[] = [];
const nothing: Claims = { addresses: none, external: none, ports: none };

/** IP protocol number of a port; undefined: not one that pcnk serves. */
export function protocolNumber(protocol: Protocol): number | undefined {
  return protocol === "TCP" ? PROTO.TCP : protocol === "UDP" ? PROTO.UDP : undefined;
}

export function portClaim(addr: string, port: number, proto: number): string {
  return `${addr}:${port}/${proto}`;
}

/** Not 0/8, loopback, link-local, multicast or reserved: as Kubernetes' validation of externalIPs has it. */
export function isServable(address: string): boolean {
  return isIpv4(address) && isUnicast(address) && !isLinkLocal(address);
}

/** ClusterIPs, each once, as far as they may be served. */
export function clusterAddresses(service: Service): readonly string[] {
  const { clusterIPs } = service;
  if (!hasFrontends(service)) return none;
  if (clusterIPs.length === 1) return isServable(clusterIPs[0]!) ? clusterIPs : none;
  return [...new Set(clusterIPs)].filter(isServable);
}

/**
 * Which external addresses are served: all that no other Service has (`on`), of these not those of nodes, pods and the API
 * server (`owners`), or, with the same exception, those of load balancers alone (`off`).
 */
export type ExternalIPs = "off" | "owners" | "on";

/** External addresses, each once, as far as they may be served. */
export function externalAddresses(service: Service, setting?: ExternalIPs): readonly string[] {
  const { type } = service;
  const externalIPs = setting === "off" ? none : service.externalIPs ?? none;
  // The API clears the status with the type; a manifest may have forgotten to.
  const loadBalancerIPs = type === "LoadBalancer" ? service.loadBalancerIPs ?? none : none;
  if (!hasFrontends(service) || externalIPs.length + loadBalancerIPs.length === 0) return none;
  return [...new Set([...externalIPs, ...loadBalancerIPs])].filter(isServable);
}

/** Node ports exist with these types only. */
export function hasNodePorts({ type, headless }: Service): boolean {
  return !headless && (type === "NodePort" || type === "LoadBalancer");
}

/** The port of the health check that a Service wants, if it does. */
export function healthPort(service: Service): number | undefined {
  const wants = service.type === "LoadBalancer" && service.externalTrafficPolicy === "Local";
  return wants && !service.headless ? service.healthCheckNodePort : undefined;
}

export function hasFrontends({ type, headless }: Service): boolean {
  return type !== "ExternalName" && !headless;
}

/** What a Service asks for; undefined asks for nothing. */
export function claimsOf(service: Service | undefined, setting?: ExternalIPs): Claims {
  if (service === undefined) return nothing;
  const addresses = clusterAddresses(service);
  const external = externalAddresses(service, setting);
  const health = healthPort(service);
  if (external.length === 0 && health === undefined && !hasNodePorts(service)) {
    return addresses.length === 0 ? nothing : { addresses, external: none, ports: none };
  }
  const ports = new Set<string>();
  for (const { protocol, port, nodePort } of service.ports) {
    const proto = protocolNumber(protocol);
    if (proto === undefined) continue;
    for (const addr of external) ports.add(portClaim(addr, port, proto));
    if (nodePort !== undefined && hasNodePorts(service)) {
      ports.add(portClaim(ANY_ADDRESS, nodePort, proto));
    }
  }
  if (health !== undefined) ports.add(portClaim(ANY_ADDRESS, health, PROTO.TCP));
  return { addresses, external, ports: [...ports] };
}

/** All claims of all Services. */
export class ClaimRegister {
  readonly #claims = new Map<string, Claims>();
  /** By ClusterIP or `portClaim()`, the one that has it first. */
  readonly #owners = new Map<string, string[]>();
  /** The Services that ask for ports of an external address. */
  readonly #users = new Map<string, Set<string>>();

  readonly #compare: (a: string, b: string) => number;

  /** @param compare which of two Services is the older one: negative for the first */
  constructor(compare: (a: string, b: string) => number) {
    this.#compare = compare;
  }

  /** The Service that a ClusterIP or a `portClaim()` belongs to. */
  ownerOf(claim: string): string | undefined {
    return this.#owners.get(claim)?.[0];
  }

  /** The Services that ask for external addresses; some are there more than once. */
  get external(): Iterable<string> {
    return [...this.#users.values()].flatMap((services) => [...services]);
  }

  /**
   * Replaces the claims of some Services; returns all whose rights have changed by it, but for these themselves. Yields between
   * Services.
   */
  *update(changes: Iterable<readonly [string, Claims]>): Generator<void, Set<string>, void> {
    const before = new Map<string, string | undefined>();
    const unsorted = new Set<string[]>(); // by a mistake one may have thousands
    for (const [service, now] of changes) {
      yield;
      const past = this.#claims.get(service) ?? nothing;
      if (now === nothing) this.#claims.delete(service);
      else this.#claims.set(service, now);
      if (past === nothing && now === nothing) continue;
      this.#replace(service, past.addresses, now.addresses, before, unsorted);
      this.#replace(service, past.ports, now.ports, before, unsorted);
      this.#use(service, past.external, now.external);
    }
    for (const owners of unsorted) owners.sort(this.#compare);
    yield;
    const affected = new Set<string>();
    for (const [claim, owner] of before) {
      const now = this.ownerOf(claim);
      if (owner === now) continue;
      for (const one of [owner, now]) if (one !== undefined) affected.add(one);
      for (const user of this.#users.get(claim) ?? none) affected.add(user);
    }
    return affected;
  }

  #replace(
    service: string,
    past: readonly string[],
    now: readonly string[],
    before: Map<string, string | undefined>,
    unsorted: Set<string[]>,
  ) {
    for (const claim of past) {
      if (now.includes(claim)) continue;
      if (!before.has(claim)) before.set(claim, this.ownerOf(claim));
      const owners = this.#owners.get(claim)!;
      owners.splice(owners.indexOf(service), 1);
      if (owners.length === 0) this.#owners.delete(claim);
    }
    for (const claim of now) {
      if (!before.has(claim)) before.set(claim, this.ownerOf(claim));
      const owners = this.#owners.get(claim);
      if (owners === undefined) this.#owners.set(claim, [service]);
      else if (owners.length > 1 || owners[0] !== service) {
        // It may have been deleted and created again, and be younger now.
        if (!past.includes(claim)) owners.push(service);
        unsorted.add(owners);
      }
    }
  }

  #use(service: string, past: readonly string[], now: readonly string[]) {
    for (const address of past) {
      const users = this.#users.get(address);
      users?.delete(service);
      if (users?.size === 0) this.#users.delete(address);
    }
    for (const address of now) {
      const users = this.#users.get(address);
      if (users === undefined) this.#users.set(address, new Set([service]));
      else users.add(service);
    }
  }
}
