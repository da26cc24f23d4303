/** What the data plane is told: service addresses and the backends behind them. */

import { parseIpv4 } from "../net/ipv4.ts";

/** IP protocol numbers as the maps carry them; 0 stands in an address entry. */
export const PROTO = { none: 0, tcp: 6, udp: 17 } as const;

/** From where a frontend may be reached: `enum service_scope` of bpf/lib/types.h. */
export const SCOPE = { cluster: 0, external: 1 } as const;

/** One address a service sends to. */
export interface Backend {
  /** Dotted quad. */
  addr: string;
  /** 1 to 65535. */
  port: number;
  /** 1 or more; only the ratio within a list counts. */
  weight: number;
  /** Still serves, but is going: used only while nothing better is there. */
  terminating: boolean;
  /** `backendKey()` of addr and port, to order and compare. */
  key: number;
}

/** Address (a number in host order, or dotted) and port as one number below 2^48. */
export function backendKey(addr: string | number, port: number): number {
  return (typeof addr === "string" ? parseIpv4(addr) : addr) * 65536 + port;
}

/**
 * What a client sends to. Every service address has, beside its ports, an address entry (port 0, proto 0): it answers
 * pings and refuses unknown ports.
 */
export interface Frontend {
  /** Dotted quad. */
  addr: string;
  /** 1 to 65535; 0 in an address entry. */
  port: number;
  /** One of PROTO. */
  proto: number;
  /** One of SCOPE. */
  scope: number;
  /** The Service port this belongs to, `namespace/name:port/TCP`: frontends of one port share the kernel's id. */
  portId: string;
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
  localOnly?: true;
  /** IPv4 prefixes of the clients it is for; undefined: all. */
  sourceRanges?: readonly string[];
  /** The client's address decides on the backend. */
  maglev?: true;
}

/** The part of a Frontend that is its key in the `services` map. */
type FrontendKey = Pick<Frontend, "addr" | "port" | "proto" | "scope">;

/** `10.96.0.1:80/6/0`: a frontend's key as one string. */
export function frontendKey({ addr, port, proto, scope }: FrontendKey): string {
  return `${addr}:${port}/${proto}/${scope}`;
}

/** The inverse of `frontendKey()`, for its results only. */
export function parseFrontendKey(key: string): FrontendKey {
  const [addr = "", rest = ""] = key.split(":");
  const [port, proto, scope] = rest.split("/").map(Number);
  return { addr, port: port ?? 0, proto: proto ?? 0, scope: scope ?? 0 };
}

/** True for the key, from `frontendKey()`, of an address entry. */
export function isAddressKey(key: string): boolean {
  return key.includes(":0/0/");
}
