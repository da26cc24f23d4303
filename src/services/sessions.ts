/** Which sessions must go. Pure: who scans the `sessions` map brings each session in this form. */
import { backendKey, parseFrontendKey, PROTO } from "../model/frontend.ts";
import { parseIpv4 } from "../model/ipv4.ts";
import type { KernelState } from "./kernel.ts";
import type { StaleSessions } from "./plan.ts";
import type { Run } from "./runs.ts";

/** One entry of the `sessions` map, of either direction. Addresses are numbers in host order. */
export interface SessionView {
  /** IP protocol number. */
  proto: number;
  frontendAddr: number;
  frontendPort: number;
  backendAddr: number;
  backendPort: number;
  /** Of a TCP connection: its handshake is not over. */
  unestablished: boolean;
}

/** Tells whether a session must go. */
export type SessionJudge = (session: SessionView) => boolean;

/**
 * The judge after some frontends lost backends. Datagrams to a lost backend get another one at once; a connection goes
 * on to its end, except one whose handshake nobody will answer.
 */
export function judgeStale(stale: readonly StaleSessions[]): SessionJudge {
  const lost = new Map<number, Map<number, boolean>>();
  for (const { frontend, backends } of stale) {
    const { addr, port, proto } = parseFrontendKey(frontend);
    const key = numericKey(parseIpv4(addr) ?? 0, port, proto);
    const known = lost.get(key);
    if (known === undefined) lost.set(key, new Map(backends));
    else for (const [backend, gone] of backends) known.set(backend, gone || known.get(backend)!);
  }
  return (session) => {
    const backends = lost.get(keyOf(session));
    const gone = backends?.get(backendKey(session.backendAddr, session.backendPort));
    if (gone === undefined) return false;
    return session.proto !== PROTO.tcp || (gone && session.unestablished);
  };
}

/**
 * The judge that needs no history: datagrams whose frontend is gone or no longer has their backend. For the start, when
 * a former agent may have died between changing a service and cleaning up.
 */
export function judgeOrphans(kernel: KernelState): SessionJudge {
  const runs = new Map<number, Run[]>();
  for (const key of kernel.services.keys()) {
    const { addr, port, proto } = parseFrontendKey(key);
    if (proto === PROTO.tcp || proto === PROTO.none) continue;
    const numeric = numericKey(parseIpv4(addr) ?? 0, port, proto);
    runs.set(numeric, [...runs.get(numeric) ?? [], kernel.runOf(key) ?? { first: 0, count: 0 }]);
  }
  return (session) => {
    if (session.proto !== PROTO.udp) return false;
    const backend = backendKey(session.backendAddr, session.backendPort);
    return !runs.get(keyOf(session))?.some((run) => kernel.backends.has(run, backend));
  };
}

function keyOf({ frontendAddr, frontendPort, proto }: SessionView): number {
  return numericKey(frontendAddr, frontendPort, proto);
}

/** 49 bits: only UDP and TCP have sessions through frontends. */
function numericKey(addr: number, port: number, proto: number): number {
  return (addr * 65536 + port) * 2 + (proto === PROTO.tcp ? 1 : 0);
}
