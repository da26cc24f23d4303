/** IPv4 routes, by rtnetlink (include/uapi/linux/rtnetlink.h). */
import { addressBytes, formatAddress } from "../net/address.ts";
import { parseInterface } from "../net/prefix.ts";
import { Fingerprint } from "./fingerprint.ts";
import { SyscallError } from "./libc.ts";
import { Message, type NetlinkRequest, NetlinkSocket, NLM_F, Reader } from "./netlink.ts";
import { AF_INET, SCOPE } from "./rtnl_addr.ts";

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  ENCAP_TYPE: 21,
  ENCAP: 22,
} as const;
const RTAX_MTU = 2;
const RTNH_F_ONLINK = 4;
const LWTUNNEL_ENCAP_IP = 2;
const LWTUNNEL_IP = { ID: 1, DST: 2 } as const;

const TYPE = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
} as const;

/** The main routing table. */
const TABLE_MAIN = 254;
/** RTPROT_STATIC: the origin of a route, when the caller gives none. */
const PROTOCOL_STATIC = 4;

/** A route. */
export interface Route {
  /** `10.0.0.0/24`; the default route is `0.0.0.0/0`. */
  readonly destination: string;
  readonly gateway?: string;
  readonly ifindex?: number;
  /** Devices of a route with several next hops; read only. */
  readonly multipath?: readonly number[];
  /** Preferred source address for packets of the node. */
  readonly source?: string;
  /** `unicast` when left out. */
  readonly type?: keyof typeof TYPE;
  /** TABLE_MAIN when left out. */
  readonly table?: number;
  /** Origin (rtm_protocol); PROTOCOL_STATIC when left out. */
  readonly protocol?: number;
  /** SCOPE; by default link without a gateway and universe with one. */
  readonly scope?: number;
  /** Lower wins; 0 when left out. */
  readonly metric?: number;
  /** Bytes. */
  readonly mtu?: number;
  /** The gateway is on the device's link although no prefix of its covers it (RTNH_F_ONLINK). */
  readonly onlink?: boolean;
  /** Lightweight tunnel: metadata for an external-mode tunnel device. */
  readonly encap?: { readonly id: number; readonly destination: string };
}

function message(route: Route): Message {
  const { address, length } = parseInterface(route.destination, 4);
  const type = TYPE[route.type ?? "unicast"];
  const table = route.table ?? TABLE_MAIN;
  const built = header(length, table, route.protocol ?? PROTOCOL_STATIC, scopeOf(route), type)
    .u32(route.onlink ? RTNH_F_ONLINK : 0);
  if (length > 0) built.attr(RTA.DST, addressBytes(address));
  if (route.gateway !== undefined) built.attr(RTA.GATEWAY, addressBytes(route.gateway));
  if (route.ifindex !== undefined) built.attrU32(RTA.OIF, route.ifindex);
  if (route.source !== undefined) built.attr(RTA.PREFSRC, addressBytes(route.source));
  if (route.metric !== undefined) built.attrU32(RTA.PRIORITY, route.metric);
  built.attrU32(RTA.TABLE, table);
  const { mtu, encap } = route;
  if (mtu !== undefined) built.nest(RTA.METRICS, (metrics) => metrics.attrU32(RTAX_MTU, mtu));
  if (encap) {
    built.attr(RTA.ENCAP_TYPE, new Uint8Array(new Uint16Array([LWTUNNEL_ENCAP_IP]).buffer));
    built.nest(RTA.ENCAP, (ip) => {
      ip.attr(LWTUNNEL_IP.ID, be64(encap.id)).attr(
        LWTUNNEL_IP.DST,
        addressBytes(encap.destination),
      );
    });
  }
  return built;
}

/** struct rtmsg without its flags. */
function header(
  length: number,
  table: number,
  protocol: number,
  scope: number,
  type: number,
): Message {
  return new Message().u8(AF_INET).u8(length).u8(0).u8(0)
    .u8(table < 256 ? table : 0).u8(protocol).u8(scope).u8(type);
}

function scopeOf({ scope, type = "unicast", gateway, encap }: Route): number {
  if (scope !== undefined) return scope;
  if (type === "local") return SCOPE.host;
  const direct = type === "unicast" && gateway === undefined && encap === undefined;
  return direct || type === "broadcast" ? SCOPE.link : SCOPE.universe;
}

function be64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** Reads one RTM_NEWROUTE or RTM_DELROUTE; undefined when it is not about IPv4. */
export function parseRoute(body: Reader): Route | undefined {
  if (body.u8(0) !== AF_INET) return undefined;
  const attrs = body.attrs(12);
  const type = (Object.keys(TYPE) as (keyof typeof TYPE)[]).find((key) => TYPE[key] === body.u8(7));
  const prefix = attrs.get(RTA.DST);
  const mtu = attrs.get(RTA.METRICS)?.attrs().get(RTAX_MTU)?.u32(0);
  return defined({
    destination: `${prefix ? formatAddress(prefix.bytes) : "0.0.0.0"}/${body.u8(1)}`,
    gateway: address(attrs.get(RTA.GATEWAY)),
    ifindex: attrs.get(RTA.OIF)?.u32(0),
    multipath: parseNextHops(attrs.get(RTA.MULTIPATH)),
    source: address(attrs.get(RTA.PREFSRC)),
    type,
    table: attrs.get(RTA.TABLE)?.u32(0) ?? body.u8(4),
    protocol: body.u8(5),
    scope: body.u8(6),
    metric: attrs.get(RTA.PRIORITY)?.u32(0) ?? 0,
    mtu,
    onlink: (body.u32(8) & RTNH_F_ONLINK) !== 0 || undefined,
    encap: parseEncap(attrs),
  });
}

function address(value: Reader | undefined): string | undefined {
  return value && formatAddress(value.bytes);
}

/** Of struct rtnexthop, one after the other: its length, and the index of its device. */
function parseNextHops(hops: Reader | undefined): number[] | undefined {
  if (hops === undefined) return undefined;
  const found: number[] = [];
  for (let at = 0; at + 8 <= hops.bytes.length;) {
    found.push(hops.u32(at + 4));
    const length = hops.u16(at);
    if (length < 8) break;
    at += (length + 3) & ~3;
  }
  return found;
}

function parseEncap(attrs: Map<number, Reader>): Route["encap"] {
  if (attrs.get(RTA.ENCAP_TYPE)?.u16(0) !== LWTUNNEL_ENCAP_IP) return undefined;
  const ip = attrs.get(RTA.ENCAP)?.attrs();
  const id = ip?.get(LWTUNNEL_IP.ID);
  return {
    id: id ? Number(id.view.getBigUint64(0)) : 0,
    destination: address(ip?.get(LWTUNNEL_IP.DST)) ?? "0.0.0.0",
  };
}

/** Without the members that are undefined. */
function defined(route: { [K in keyof Route]: Route[K] | undefined }): Route {
  return Object.fromEntries(
    Object.entries(route).filter(([, value]) => value !== undefined),
  ) as unknown as Route;
}

/** The IPv4 routes of a table; 0: of all tables. */
export function listRoutes(socket: NetlinkSocket, table: number = TABLE_MAIN): Route[] {
  return dumpRoutes(socket, table).map((body) => parseRoute(body))
    .filter((route) => route !== undefined);
}

/** What the IPv4 routes of the main table come to: another text when one has changed. */
export function routesFingerprint(socket: NetlinkSocket): string {
  const found = new Fingerprint();
  for (const { view } of dumpRoutes(socket, TABLE_MAIN)) found.add(view, 0, view.byteLength);
  return found.text;
}

function dumpRoutes(socket: NetlinkSocket, table: number): Reader[] {
  const request = header(0, 0, 0, 0, 0).u32(0).attrU32(RTA.TABLE, table);
  try {
    return socket.dump("RTM_GETROUTE", RTM_GETROUTE, request).map(({ body }) => body);
  } catch (error) {
    if (error instanceof SyscallError && error.code === "ENOENT") return []; // no such table yet
    throw error;
  }
}

/**
 * The route that a packet of this node to `destination` takes.
 * @throws {SyscallError} ENETUNREACH, EHOSTUNREACH
 */
export function routeTo(socket: NetlinkSocket, destination: string): Route {
  const request = header(32, 0, 0, 0, 0).u32(0).attr(RTA.DST, addressBytes(destination));
  const [reply] = socket.request("RTM_GETROUTE", RTM_GETROUTE, 0, request);
  const route = reply && parseRoute(reply.body);
  if (!route) throw new Error(`no reply for the route to ${destination}`);
  return route;
}

/** For `requestAll`: adds a route; EEXIST when one with the same destination, table and metric is there. */
export function addRouteRequest(route: Route): NetlinkRequest {
  const flags = NLM_F.CREATE | NLM_F.EXCL;
  return { what: "RTM_NEWROUTE", type: RTM_NEWROUTE, flags, message: message(route) };
}

/** For `requestAll`: adds a route or replaces the one with the same destination, table and metric. */
export function replaceRouteRequest(route: Route): NetlinkRequest {
  const flags = NLM_F.CREATE | NLM_F.REPLACE;
  return { what: "RTM_NEWROUTE", type: RTM_NEWROUTE, flags, message: message(route) };
}

/** For `requestAll`: removes a route; one that is not there is no error. */
export function deleteRouteRequest(route: Route): NetlinkRequest {
  const built = { type: RTM_DELROUTE, flags: 0, message: message(route) };
  return { what: "RTM_DELROUTE", ...built, fine: gone };
}

/** Error codes for a route that is not there, or whose device is not. */
const gone = ["ESRCH", "ENODEV"];

/**
 * Adds a route; false when one with the same destination, table and metric is there.
 * @throws {SyscallError} e.g. ENETUNREACH when the gateway is on no link
 */
export function addRoute(socket: NetlinkSocket, route: Route): boolean {
  const { what, type, flags, message } = addRouteRequest(route);
  try {
    socket.request(what, type, flags, message);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EEXIST") return false;
    throw error;
  }
}

/** Adds a route or replaces the one with the same destination, table and metric. */
export function replaceRoute(socket: NetlinkSocket, route: Route): void {
  const { what, type, flags, message } = replaceRouteRequest(route);
  socket.request(what, type, flags, message);
}

/** Removes a route; false when it was not there. */
export function deleteRoute(socket: NetlinkSocket, route: Route): boolean {
  const { what, type, flags, message } = deleteRouteRequest(route);
  try {
    socket.request(what, type, flags, message);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && gone.includes(error.code)) return false;
    throw error;
  }
}
