/** Which sessions must go. Pure: who scans the `sessions` map brings each session in this form. */
import { backendKey, frontendKey, parseFrontendKey, PROTO, SCOPE } from "../model/frontend.ts";
import { parseIpv4 } from "../net/ipv4.ts";
import type { KernelState } from "./kernel.ts";
import type { StaleSessions } from "./changes.ts";
import type { Run } from "./runs.ts";

/** One entry of the `sessions` map, of either direction. Addresses are numbers in host order. */
export interface SessionView {
  /** IP protocol number. */
  proto: number;
  /** As the client has it: of a node port an address of the node. */
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
 *
 * A session does not tell its scope: it stays while the frontend has the backend in one of them. It does not tell
 * either whether it came by a node port: that it did when nothing else is at its address and port.
 *
 * @param kernel what the maps hold now
 */
export function judgeStale(stale: readonly StaleSessions[], kernel: KernelState): SessionJudge {
  const lost = new Map<number, Map<number, boolean>>();
  for (const { frontend, backends } of stale) {
    const where = parseFrontendKey(frontend);
    const key = numericKey(parseIpv4(where.addr) ?? 0, where.port, where.proto);
    const runs = [SCOPE.cluster, SCOPE.external].map((scope) =>
      kernel.runOf(frontendKey({ ...where, scope })) ?? noRun
    );
    const known = lost.get(key) ?? new Map<number, boolean>();
    lost.set(key, known);
    for (const [backend, gone] of backends) {
      if (runs.some((run) => kernel.backends.has(run, backend))) known.delete(backend);
      else known.set(backend, gone || (known.get(backend) ?? false));
    }
  }
  const nodePorts = [...lost.keys()].some((key) => key < anyAddressEnd);
  const frontends = nodePorts ? numericKeys(kernel) : none;
  return (session) => {
    const backends = lost.get(keyOf(session, (key) => lost.has(key) || frontends.has(key)));
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
    runs.set(numeric, [...runs.get(numeric) ?? [], kernel.runOf(key) ?? noRun]);
  }
  return (session) => {
    if (session.proto !== PROTO.udp) return false;
    const backend = backendKey(session.backendAddr, session.backendPort);
    return !runs.get(keyOf(session, (key) => runs.has(key)))?.some((run) =>
      kernel.backends.has(run, backend)
    );
  };
}

const noRun: Run = { first: 0, count: 0 };
const none: ReadonlySet<number> = new Set();

/** The frontend of a session: the one at its address, or else the node port. */
function keyOf(
  { frontendAddr, frontendPort, proto }: SessionView,
  isFrontend: (key: number) => boolean,
): number {
  const key = numericKey(frontendAddr, frontendPort, proto);
  return isFrontend(key) ? key : numericKey(0, frontendPort, proto);
}

function numericKeys(kernel: KernelState): Set<number> {
  const keys = new Set<number>();
  for (const key of kernel.services.keys()) {
    const { addr, port, proto } = parseFrontendKey(key);
    keys.add(numericKey(parseIpv4(addr) ?? 0, port, proto));
  }
  return keys;
}

/** Node ports, at 0.0.0.0, have keys below this. */
const anyAddressEnd = numericKey(1, 0, PROTO.none);

/** 49 bits: only UDP and TCP have sessions through frontends. */
function numericKey(addr: number, port: number, proto: number): number {
  return (addr * 65536 + port) * 2 + (proto === PROTO.tcp ? 1 : 0);
}
