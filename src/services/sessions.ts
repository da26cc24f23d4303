/** Which sessions must go. Pure: the scan of the `sessions` map hands each session over in this form. */
import { PROTO, SCOPE } from "../abi/enums.ts";
import { type FrontendKey, frontendKey } from "../model/frontend.ts";
import type { AddressValue } from "../net/address.ts";
import { joinHostPort } from "../net/host_port.ts";
import type { StaleSessions } from "./changes.ts";
import { ANY_ADDRESS } from "./claims.ts";
import type { KernelState } from "./kernel.ts";
import type { Extent } from "./extents.ts";

/** One entry of the `sessions` map, of either direction. */
export interface SessionView {
  /** IP protocol number. */
  readonly proto: number;
  /** As the client has it: of a node port an address of the node. */
  readonly frontendAddr: string;
  readonly frontendPort: number;
  /** Its address. */
  readonly backend: AddressValue;
  readonly backendPort: number;
  /** Of a TCP connection: its handshake is not over. */
  readonly unestablished: boolean;
}

/** True for a session that must go. */
export type SessionJudge = (session: SessionView) => boolean;

/**
 * The judge after some frontends lost backends. Datagrams to a lost backend get another one at once; a connection
 * goes on, except one in handshake with a backend that is gone.
 *
 * A session does not record its scope: it stays while the frontend has the backend in either scope. Nor does it record
 * whether it came by a node port: it did when no other frontend has its address and port.
 *
 * @param kernel what the maps hold now
 */
export function judgeStale(stale: readonly StaleSessions[], kernel: KernelState): SessionJudge {
  /** By the backend's address, which dismisses most sessions; then by frontend and port. */
  const lost = new Map<AddressValue, Map<string, boolean>>();
  const frontends = new Set<string>();
  for (const { frontend, backends } of stale) {
    const extents = extentsOf(frontend, kernel);
    const text = textOf(frontend);
    frontends.add(text);
    for (const { value, port, gone } of backends) {
      const known = lost.get(value) ?? new Map<string, boolean>();
      lost.set(value, known);
      const flow = `${text} ${port}`;
      if (extents.some((extent) => kernel.backends.has(extent, { value, port }))) {
        known.delete(flow);
      } else known.set(flow, gone || (known.get(flow) ?? false));
    }
  }
  if (stale.some(({ frontend }) => frontend.addr === ANY_ADDRESS)) {
    for (const { key } of kernel.services.values()) frontends.add(textOf(key));
  }
  return (session) => {
    const known = lost.get(session.backend);
    if (known === undefined) return false;
    const gone = known.get(`${frontendOf(session, frontends)} ${session.backendPort}`);
    if (gone === undefined) return false;
    return session.proto !== PROTO.TCP || (gone && session.unestablished);
  };
}

/**
 * The judge that needs no history: datagrams whose frontend is gone or no longer has their backend. For the start, when
 * a former agent may have died between changing a service and cleaning up.
 */
export function judgeOrphans(kernel: KernelState): SessionJudge {
  const extents = new Map<string, Extent[]>();
  for (const { key } of kernel.services.values()) {
    if (key.proto === PROTO.UDP) extents.set(textOf(key), extentsOf(key, kernel));
  }
  return (session) => {
    if (session.proto !== PROTO.UDP) return false;
    const backend = { value: session.backend, port: session.backendPort };
    const held = extents.get(frontendOf(session, extents)) ?? [];
    return !held.some((extent) => kernel.backends.has(extent, backend));
  };
}

/** The extents of a frontend in either scope. */
function extentsOf({ addr, port, proto }: FrontendKey, kernel: KernelState): Extent[] {
  return Object.values(SCOPE)
    .map((scope) => kernel.extentOf(frontendKey(addr, port, proto, scope).text))
    .filter((extent) => extent !== undefined);
}

/** A frontend without its scope. */
function textOf({ addr, port, proto }: Pick<FrontendKey, "addr" | "port" | "proto">): string {
  return `${joinHostPort(addr, port)}/${proto}`;
}

/** The frontend of a session: the one at its address, or else the node port. */
function frontendOf(
  { frontendAddr, frontendPort: port, proto }: SessionView,
  frontends: { has(text: string): boolean },
): string {
  const text = textOf({ addr: frontendAddr, port, proto });
  return frontends.has(text) ? text : textOf({ addr: ANY_ADDRESS, port, proto });
}
