/**
 * Ends UDP sockets whose backend is gone. hostlb checks an unconnected socket's backend with every datagram; a connected one
 * calls no hook after connect(), and would send to the former backend for ever. Its process gets an error (ECONNABORTED) and
 * connects again.
 *
 * Which ones are stale follows from the maps alone, and not from a list of what was removed: nothing is missed when the
 * agent was away. TCP is not touched: connections to a terminating backend finish.
 */
import type { DiagSocket, SockDiag } from "../linux/sock_diag.ts";
import { type HostlbConnection, type hostlbMaps, type maps, PROTO, SCOPE } from "./layout.ts";
import type { MapOf } from "./map.ts";

/** Where hostlb sends connections without a backend (REFUSED_ADDR in bpf/); the kernel refuses them. */
export const REFUSED = { addr: "127.0.0.1", port: 0 } as const;

/** What the search needs to know. */
export interface StaleSearch {
  readonly services: Pick<MapOf<typeof maps.services>, "get">;
  readonly backends: Pick<MapOf<typeof maps.backends>, "range">;
  readonly connections: Pick<MapOf<typeof hostlbMaps.hostlb_connections>, "get" | "delete">;
}

/** Backends as `addr:port`, by frontend; undefined when that is no service. */
type Known = Map<string, ReadonlySet<string> | undefined>;

/**
 * Ends the stale ones among the sockets of one network namespace; returns how many.
 * @throws {SockDiagError} when the kernel cannot
 */
export function endStaleUdpSockets(
  diag: Pick<SockDiag, "connectedUdp" | "destroy">,
  search: StaleSearch,
): number {
  const known: Known = new Map();
  return diag.connectedUdp()
    .filter((socket) => isStale(socket, search, known))
    .filter((socket) => {
      // First: its process may connect it again at once.
      search.connections.delete({ cookie: socket.cookie });
      return diag.destroy(socket);
    })
    .length;
}

/** How many connections are stale, in whichever network namespace: by a look at the maps only. */
export function countStale(
  search: StaleSearch & {
    readonly connections: Pick<MapOf<typeof hostlbMaps.hostlb_connections>, "entries">;
  },
): number {
  const known: Known = new Map();
  return search.connections.entries().filter(([, connection]) => isOver(connection, search, known))
    .length;
}

function isStale({ cookie, remote }: DiagSocket, search: StaleSearch, known: Known): boolean {
  const connection = search.connections.get({ cookie });
  if (!connection) return false;
  const { backend_addr, backend_port } = connection;
  // Connected to another address since, in a cgroup without hostlb.
  if (remote.addr !== backend_addr || remote.port !== backend_port) return false;
  return isOver(connection, search, known);
}

/** Is the backend no longer one of the service's? */
function isOver(connection: HostlbConnection, search: StaleSearch, known: Known): boolean {
  const { addr, port, backend_addr, backend_port } = connection;
  const frontend = `${addr}:${port}`;
  if (!known.has(frontend)) known.set(frontend, backendsOf(connection, search));
  const backends = known.get(frontend);
  // One that was refused waits for a service that has a backend.
  if (backend_addr === REFUSED.addr && backend_port === REFUSED.port) {
    return (backends?.size ?? 0) > 0;
  }
  return !backends?.has(`${backend_addr}:${backend_port}`);
}

function backendsOf(
  { addr, port }: HostlbConnection,
  { services, backends }: StaleSearch,
): ReadonlySet<string> | undefined {
  const key = { port, proto: PROTO.UDP, scope: SCOPE.CLUSTER };
  const service = services.get({ ...key, addr }) ?? services.get({ ...key, addr: "0.0.0.0" });
  if (!service) return undefined;
  const run = service.count > 0 ? backends.range(service.first, service.count) : [];
  return new Set(run.map((backend) => `${backend.addr}:${backend.port}`));
}
