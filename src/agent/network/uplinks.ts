/**
 * The devices to the other nodes and the world, and the node's own addresses.
 *
 * Found: every device of a default route, and every device that has one of the node's InternalIPs. What leaves by another
 * device is not masqueraded, and NodePorts are not served there; such a device must be named.
 */
import type { Address } from "../../linux/rtnl_addr.ts";
import { SCOPE } from "../../linux/rtnl_addr.ts";
import type { Link, RtNetlink } from "../../linux/rtnetlink.ts";
import type { Uplink } from "../../routing/types.ts";

type Devices = Pick<RtNetlink, "links" | "routes" | "addrs">;

/** Which uplinks to use. */
interface UplinkChoice {
  /** Names of devices; undefined: find them. */
  names?: readonly string[] | undefined;
  /** The node's InternalIPs; empty: not known yet. */
  internalIPs?: readonly string[];
  /** Name of the pods' bridge. */
  bridge?: string;
}

/** Uplinks and addresses of this node. */
export interface NodeDevices {
  /** The best default route's first, or in the order of the names. */
  uplinks: Uplink[];
  /** Names that no device has. */
  missing: string[];
  /** The addresses of all devices but the loopback. */
  addresses: string[];
  /** Index of the pods' bridge; 0: there is none. */
  bridge: number;
}

export function findDevices(
  nl: Devices,
  { names, internalIPs = [], bridge }: UplinkChoice,
): NodeDevices {
  const links = nl.links();
  const loopbacks = new Set(links.filter(({ loopback }) => loopback).map(({ index }) => index));
  const addresses = nl.addrs().filter(({ ifindex }) => !loopbacks.has(ifindex));
  const chosen = names === undefined
    ? foundLinks(nl, links, addresses, internalIPs)
    : names.map((name) => links.find((link) => link.name === name));
  return {
    uplinks: chosen.filter((link) => link !== undefined).map((link) => toUplink(link, addresses)),
    missing: names?.filter((_, i) => chosen[i] === undefined) ?? [],
    addresses: [...new Set(addresses.map(({ address }) => address))],
    bridge: links.find(({ name }) => name === bridge)?.index ?? 0,
  };
}

/**
 * @throws Error when there is no device of a name, with the names of those that exist
 */
export function checkUplinks(nl: Devices, names: readonly string[] | undefined): void {
  const [missing] = findDevices(nl, { names }).missing;
  if (missing === undefined) return;
  const others = nl.links().filter(({ loopback }) => !loopback).map(({ name }) => name);
  const known = others.length === 0 ? "none but the loopback" : others.join(", ");
  throw new Error(`uplink ${missing}: there is no such device; there are: ${known}`);
}

/** What the world is to see of pods that leave by this uplink: the node's InternalIP where it is here, else its first. */
export function masqueradeAddress(uplink: Uplink, internalIPs: readonly string[]): string {
  const here = uplink.addresses.map(({ address }) => address);
  return internalIPs.find((address) => here.includes(address)) ?? here[0] ?? internalIPs[0] ??
    "0.0.0.0";
}

function foundLinks(
  nl: Devices,
  links: readonly Link[],
  addresses: readonly Address[],
  internalIPs: readonly string[],
): (Link | undefined)[] {
  const defaultRoutes = nl.routes()
    .filter(({ destination, type }) =>
      destination === "0.0.0.0/0" && (type ?? "unicast") === "unicast"
    )
    .sort((a, b) => (a.metric ?? 0) - (b.metric ?? 0))
    .map(({ ifindex }) => ifindex);
  const homes = addresses.filter(({ address }) => internalIPs.includes(address))
    .map(({ ifindex }) => ifindex);
  return [...new Set([...defaultRoutes, ...homes])].map((ifindex) =>
    links.find(({ index, loopback }) => index === ifindex && !loopback)
  );
}

/** Addresses that are good on their own link only do not count. */
function toUplink({ index, name, mtu }: Link, addresses: readonly Address[]): Uplink {
  return {
    ifindex: index,
    name,
    mtu,
    addresses: addresses
      .filter(({ ifindex, scope }) => ifindex === index && (scope ?? 0) < SCOPE.link)
      .map(({ address, prefixLength }) => ({ address, prefixLength })),
  };
}
