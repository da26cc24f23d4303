/** What the data plane shall hold: service addresses and the backends behind them. */
import { PROTO } from "../abi/enums.ts";
import type { AddressValue } from "../net/address.ts";
import { joinHostPort } from "../net/host_port.ts";

/** What orders and compares backends. */
export interface BackendKey {
  /** `addressValue()` of its address. */
  readonly value: AddressValue;
  /** 1 to 65535. */
  readonly port: number;
}

/** One address a service sends to. */
export interface Backend extends BackendKey {
  /** Canonical text. */
  readonly addr: string;
  /** 1 or more; only the ratio within a list counts. */
  readonly weight: number;
  /** Still serves, but is going: used only while nothing better is there. */
  readonly terminating: boolean;
}

/**
 * A key of the `services` map: what a client sends to. Every service address has, beside its ports, an address entry (port
 * 0, proto 0): it answers pings and refuses unknown ports.
 */
export interface FrontendKey {
  /** Canonical text. */
  readonly addr: string;
  /** 1 to 65535; 0 in an address entry. */
  readonly port: number;
  /** PROTO of src/abi. */
  readonly proto: number;
  /** SCOPE of src/abi. */
  readonly scope: number;
  /** `10.96.0.1:80/6/0`: equal for equal keys. */
  readonly text: string;
}

/** A Service port. Frontends of one port share the kernel's id. */
export interface PortId {
  /** `namespace/name` of the Service. */
  readonly service: string;
  /** `namespace/name:port/TCP`, or `namespace/name` for the address entries. */
  readonly text: string;
}

export interface Frontend {
  key: FrontendKey;
  portId: PortId;
  /** In order of address and port; frontends with equal lists share them in the kernel. */
  backends: readonly Backend[];
  /** Endpoints that get no new connections but are there still: handshakes under way with them may go on. */
  draining: readonly Backend[];
  /** 0: no session affinity. */
  affinitySeconds: number;
  /**
   * Only endpoints of this node serve, by a traffic policy, and some are elsewhere: without a backend it drops what comes
   * rather than refuse it.
   */
  localOnly?: boolean;
  /** IPv4 prefixes of the clients it is for; undefined: all. */
  sourceRanges?: readonly string[] | undefined;
  /** The client's address decides on the backend. */
  maglev?: boolean;
}

export function frontendKey(addr: string, port: number, proto: number, scope: number): FrontendKey {
  return { addr, port, proto, scope, text: `${joinHostPort(addr, port)}/${proto}/${scope}` };
}

/** Orders backends of one family by address and port. */
export function compareBackends(a: BackendKey, b: BackendKey): number {
  return a.value === b.value ? a.port - b.port : a.value < b.value ? -1 : 1;
}

/** Those of `list` that `others` does not have; both in order. */
export function backendsWithout<T extends BackendKey>(
  list: Iterable<T>,
  others: readonly BackendKey[],
): T[] {
  const found: T[] = [];
  let next = 0;
  for (const one of list) {
    while (next < others.length && compareBackends(others[next]!, one) < 0) next++;
    if (next === others.length || compareBackends(others[next]!, one) !== 0) found.push(one);
  }
  return found;
}

/** True for the key of an address entry. */
export function isAddressKey({ proto }: FrontendKey): boolean {
  return proto === PROTO.NONE;
}
