/**
 * Ends UDP sockets whose backend is gone. hostlb looks at an unconnected socket's backend with every datagram, but a
 * connected one has no more to do with it: it would send into the void for ever. Its process gets an error instead and
 * connects again.
 *
 * Which ones are stale follows from the maps alone, and not from a list of what was removed: nothing is missed when the
 * agent was away. TCP is left alone: connections to a terminating backend finish.
 */
import { type DiagSocket, SockDiag } from "../linux/sock_diag.ts";
import { type HostlbFlow, hostlbSocket, REFUSED } from "./layout_hostlb.ts";
import { maps, SCOPE } from "./layout.ts";
import type { MapOf } from "./map.ts";

const UDP = 17;

/** What the search needs to know. */
export interface StaleSearch {
  readonly services: Pick<MapOf<typeof maps.services>, "get">;
  readonly backends: Pick<MapOf<typeof maps.backends>, "range">;
}

/**
 * Ends the stale ones among the sockets of one network namespace; returns how many.
 * @param storageFd the `hostlb_sockets` map
 * @throws {SockDiagError} when the kernel cannot
 */
export function endStaleUdpSockets(
  diag: Pick<SockDiag, "connectedUdp" | "destroy">,
  storageFd: number,
  search: StaleSearch,
): number {
  const known = new Map<string, ReadonlySet<string> | undefined>();
  return diag.connectedUdp(storageFd)
    .filter((socket) => isStale(socket, search, known))
    .filter((socket) => diag.destroy(socket))
    .length;
}

function isStale(
  socket: DiagSocket,
  search: StaleSearch,
  known: Map<string, ReadonlySet<string> | undefined>,
): boolean {
  const flow = connectedFlow(socket);
  if (!flow) return false;
  const frontend = `${flow.addr}:${flow.port}`;
  if (!known.has(frontend)) known.set(frontend, backendsOf(flow, search));
  const backends = known.get(frontend);
  const { addr, port } = socket.remote;
  // One that was refused waits for a service that has a backend.
  if (addr === REFUSED.addr && port === REFUSED.port) return (backends?.size ?? 0) > 0;
  return !backends?.has(`${addr}:${port}`);
}

/** The flow that the socket is connected by; it may have others, of datagrams to other services. */
function connectedFlow({ remote, storage }: DiagSocket): HostlbFlow | undefined {
  if (storage.length < hostlbSocket.size) return undefined;
  const { flows, last } = hostlbSocket.decode(new DataView(storage.buffer), 0);
  const fits = (flow: HostlbFlow | undefined) =>
    flow !== undefined && flow.addr !== "0.0.0.0" && flow.backend_addr === remote.addr &&
    flow.backend_port === remote.port;
  return fits(flows[last]) ? flows[last] : flows.find(fits);
}

/** Backends of what a process calls `addr:port`, `addr:port` each; undefined when it is no service any more. */
function backendsOf(
  { addr, port }: HostlbFlow,
  { services, backends }: StaleSearch,
): ReadonlySet<string> | undefined {
  const key = { port, proto: UDP, scope: SCOPE.CLUSTER };
  const service = services.get({ ...key, addr }) ?? services.get({ ...key, addr: "0.0.0.0" });
  if (!service) return undefined;
  const run = service.count > 0 ? backends.range(service.first, service.count) : [];
  return new Set(run.map((backend) => `${backend.addr}:${backend.port}`));
}
