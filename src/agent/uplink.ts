/** The device to the other nodes, and the node's address on it. */
import type { Link, RtNetlink } from "../linux/rtnetlink.ts";
import { SCOPE } from "../linux/rtnl_addr.ts";

export interface Uplink {
  ifindex: number;
  name: string;
  /** Undefined: it has no IPv4 address (yet). */
  address?: string;
}

/**
 * Finds the uplink: the device that is named, else that of the default route with the lowest metric. Undefined when none is
 * named and there is no default route (yet).
 *
 * @throws Error when there is no device of that name, telling which there are
 */
export function findUplink(
  nl: Pick<RtNetlink, "links" | "routes" | "addrs">,
  name?: string,
): Uplink | undefined {
  const links = nl.links();
  const link = name === undefined
    ? defaultDevice(nl, links)
    : links.find((one) => one.name === name);
  if (link === undefined) {
    if (name === undefined) return undefined;
    const others = links.filter(({ loopback }) => !loopback).map((one) => one.name);
    const known = others.length === 0 ? "none but the loopback" : others.join(", ");
    throw new Error(`uplink ${name}: there is no such device; there are: ${known}`);
  }
  const address = nl.addrs(link.index).find(({ scope }) => (scope ?? 0) === SCOPE.universe);
  return { ifindex: link.index, name: link.name, ...(address && { address: address.address }) };
}

function defaultDevice(nl: Pick<RtNetlink, "routes">, links: Link[]): Link | undefined {
  const [best] = nl.routes()
    .filter(({ destination, type }) =>
      destination === "0.0.0.0/0" && (type ?? "unicast") === "unicast"
    )
    .sort((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
  return links.find(({ index }) => index === best?.ifindex);
}
