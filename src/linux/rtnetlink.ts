/** Devices, tc filters, addresses, routes and neighbours of one network namespace, by rtnetlink(7). */
import { type NetlinkRequest, NetlinkSocket } from "./netlink.ts";
import type { SyscallError } from "./libc.ts";
import * as addr from "./rtnl_addr.ts";
import * as link from "./rtnl_link.ts";
import * as neigh from "./rtnl_neigh.ts";
import * as route from "./rtnl_route.ts";
import * as tc from "./rtnl_tc.ts";

export type { Link, LinkChange } from "./rtnl_link.ts";
export type { Route } from "./rtnl_route.ts";
export type { Direction, Filter } from "./rtnl_tc.ts";

/**
 * A connection to the kernel's network configuration. It goes on belonging to the namespace it was opened in. Methods
 * throw `SyscallError` with the kernel's explanation; see the functions they stand for in rtnl_*.ts.
 */
export class RtNetlink {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** Opens a connection in the present network namespace or in the one at `netnsPath`. */
  static open(netnsPath?: string): RtNetlink {
    return new RtNetlink(NetlinkSocket.open(netnsPath));
  }

  links = (): link.Link[] => link.listLinks(this.#socket);
  link = (key: string | number): link.Link | undefined => link.getLink(this.#socket, key);
  addLink = (spec: link.NewLink): void => link.addLink(this.#socket, spec);
  setLink = (ifindex: number, change: link.LinkChange): void =>
    link.setLink(this.#socket, ifindex, change);
  setBridge = (ifindex: number, switches: link.BridgeSwitches): void =>
    link.setBridge(this.#socket, ifindex, switches);
  setPort = (ifindex: number, switches: link.PortSwitches): void =>
    link.setPort(this.#socket, ifindex, switches);
  delLink = (ifindex: number): boolean => link.deleteLink(this.#socket, ifindex);

  addrs = (ifindex?: number): addr.Address[] => addr.listAddresses(this.#socket, ifindex);
  addrsIn = (netnsId: number): addr.Address[] => addr.listAddressesIn(this.#socket, netnsId);
  addAddr = (address: addr.Address): boolean => addr.addAddress(this.#socket, address);
  delAddr = (address: addr.Address): boolean => addr.deleteAddress(this.#socket, address);

  routes = (table?: number): route.Route[] => route.listRoutes(this.#socket, table);
  routesFingerprint = (): string => route.routesFingerprint(this.#socket);
  routeTo = (destination: string): route.Route => route.routeTo(this.#socket, destination);
  addRoute = (spec: route.Route): boolean => route.addRoute(this.#socket, spec);
  replaceRoute = (spec: route.Route): void => route.replaceRoute(this.#socket, spec);
  delRoute = (spec: route.Route): boolean => route.deleteRoute(this.#socket, spec);

  neighs = (ifindex?: number): neigh.Neighbour[] => neigh.listNeighbours(this.#socket, ifindex);
  neighsFingerprint = (ifindex: number): string =>
    neigh.neighboursFingerprint(this.#socket, ifindex);
  replaceNeigh = (entry: neigh.Neighbour): void => neigh.replaceNeighbour(this.#socket, entry);
  delNeigh = (entry: neigh.Neighbour): boolean => neigh.deleteNeighbour(this.#socket, entry);
  fdb = (filter?: { ifindex?: number; master?: number }): neigh.FdbEntry[] =>
    neigh.listFdb(this.#socket, filter);
  replaceFdb = (entry: neigh.FdbEntry): void => neigh.replaceFdb(this.#socket, entry);
  delFdb = (entry: neigh.FdbEntry): boolean => neigh.deleteFdb(this.#socket, entry);

  /** Many requests at a time, see `NetlinkSocket.requestAll`. */
  requestAll = (requests: readonly NetlinkRequest[]): Map<number, SyscallError> =>
    this.#socket.requestAll(requests);

  addClsact = (ifindex: number): boolean => tc.addClsact(this.#socket, ifindex);
  delClsact = (ifindex: number): boolean => tc.deleteClsact(this.#socket, ifindex);
  listClsact = (): number[] => tc.listClsact(this.#socket);
  filterReplace = (filter: tc.FilterId & { progFd: number; name: string }): void =>
    tc.replaceFilter(this.#socket, filter);
  filterList = (ifindex: number, direction: tc.Direction): tc.Filter[] =>
    tc.listFilters(this.#socket, ifindex, direction);
  redirectsMove = (filters: Omit<tc.FilterId, "handle">): boolean =>
    tc.moveRedirects(this.#socket, filters);
  filterDelete = (filter: tc.FilterId): boolean => tc.deleteFilter(this.#socket, filter);

  /** Closes the connection; more than once does no harm. */
  close(): void {
    this.#socket.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
