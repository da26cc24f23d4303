/** Which devices are uplinks: a pure function of what the kernel holds. docs/node.md has the rule as a table. */
import { type Address, SCOPE } from "../../linux/rtnl_addr.ts";
import { isLinux } from "../../linux/release.ts";
import { hasNoHeader, isEthernet } from "../../linux/rtnl_link.ts";
import type { Link, Route } from "../../linux/rtnetlink.ts";
import { parseNetwork } from "../../net/prefix.ts";

/** What decides, beside the kernel. */
export interface UplinkChoice {
  /** Names of devices, or patterns with * and ?; undefined: find them. */
  names?: readonly string[] | undefined;
  /** The node's InternalIPs; empty: not known yet. */
  internalIPs?: readonly string[];
  /** Of this node. */
  podCIDRs?: readonly string[];
  /** Names of the pods' bridge and of the overlay's device, never uplinks. */
  bridge?: string;
  overlay?: string;
  /** Of Linux. Default: the running one's. */
  release?: string;
}

/** What the kernel holds. Routes of all tables: policy routing and VRFs have default routes in others. */
interface KernelDevices {
  links: readonly Link[];
  addresses: readonly Address[];
  routes: readonly Route[];
}

/** One device, whether it is an uplink, and why. */
export interface DeviceChoice {
  link: Link;
  uplink: boolean;
  /** "has a default route"; of one that is none: "a bridge without a NIC". */
  why: string;
  /** It should be an uplink and cannot be, or is one for NodePorts only. */
  unserved?: boolean;
}

/** Kinds of devices that are NICs, or stand for some. Hardware has no kind; in a container a veth is the NIC. */
const NICS = new Set([
  undefined,
  ...["bond", "team", "vlan", "macvlan", "ipvlan", "openvswitch", "hsr", "veth"],
]);

const TABLE_MAIN = 254;

/** Judges all devices; the best uplinks come first. */
export function judgeDevices(
  kernel: KernelDevices,
  choice: UplinkChoice,
): { choices: DeviceChoice[]; missing: string[] } {
  const { bridge, overlay, names } = choice;
  const links = kernel.links.filter(({ loopback, name }) =>
    !loopback && name !== bridge && name !== overlay
  );
  const wanted = names === undefined ? foundLinks(kernel, links, choice) : namedLinks(names, links);
  const choices = [...wanted].map(([link, why]) => choose(kernel, link, why, choice));
  for (const link of links) {
    if (wanted.has(link) || networksOf(kernel, link).length === 0) continue;
    const why = names === undefined
      ? whyNot(kernel, link, choice)!
      : "the setting uplink names others";
    choices.push({ link, uplink: false, why });
  }
  const missing = names?.filter((name) => !links.some((link) => matches(name, link.name))) ?? [];
  return { choices, missing };
}

/** The addresses of a device that are good beyond its own link. */
export function networksOf({ addresses }: Pick<KernelDevices, "addresses">, { index }: Link) {
  return addresses
    .filter(({ ifindex, scope = SCOPE.universe, address }) =>
      ifindex === index && scope < SCOPE.link && !address.startsWith("169.254.")
    )
    .map(({ address, prefixLength }) => ({ address, prefixLength }));
}

/** Whether a device that is to be an uplink can be one. */
function choose(kernel: KernelDevices, link: Link, why: string, choice: UplinkChoice) {
  const unreadable = whyUnreadable(link, choice.release);
  const device: DeviceChoice = { link, uplink: unreadable === undefined, why };
  if (unreadable !== undefined) {
    device.why += `, but ${unreadable} (type ${link.type})`;
    device.unserved = true;
  }
  // The pods' bridge and the overlay are in no VRF.
  const vrf = kernel.links.find(({ index, kind }) => index === link.master && kind === "vrf");
  if (vrf === undefined) return device;
  device.why +=
    `, in VRF ${vrf.name}: pods' packets and tunnels leave there only by routes of the main table`;
  const { internalIPs = [] } = choice;
  if (networksOf(kernel, link).some(({ address }) => internalIPs.includes(address))) {
    device.unserved = true;
  }
  return device;
}

const ARPHRD_IP6GRE = 823;

/** Why the programs cannot read a device's packets; undefined: they can. */
function whyUnreadable(link: Link, release?: string): string | undefined {
  if (!isEthernet(link) && !hasNoHeader(link)) {
    return "its frames begin with a header that pcnk cannot read";
  }
  // Until then the outer headers are in front. bpf_redirect() takes them off (strip_outer_headers()), but of this type, which
  // it takes for Ethernet (dev_is_mac_header_xmit()).
  if (link.type === ARPHRD_IP6GRE && !isLinux(5, 14, release)) {
    return "GRE over IPv6 needs Linux 5.14; ip6gretap and ip6tnl do not";
  }
  return undefined;
}

function namedLinks(names: readonly string[], links: readonly Link[]): Map<Link, string> {
  const named = names.flatMap((name) => links.filter((link) => matches(name, link.name)));
  return new Map(named.map((link) => [link, "named by the setting uplink"]));
}

/** Whether `name` matches a pattern of the setting. */
function matches(pattern: string, name: string): boolean {
  const regex = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*").replaceAll(
    "?",
    ".",
  );
  return new RegExp(`^${regex}$`).test(name);
}

function foundLinks(
  kernel: KernelDevices,
  links: readonly Link[],
  choice: UplinkChoice,
): Map<Link, string> {
  const { internalIPs = [] } = choice;
  const found = new Map<Link, string>();
  const add = (link: Link | undefined, why: string) => {
    if (link !== undefined && !found.has(link)) found.set(link, why);
  };
  for (const ifindex of defaultDevices(kernel.routes)) {
    add(links.find(({ index }) => index === ifindex), "has a default route");
  }
  for (const { ifindex, address } of kernel.addresses) {
    if (!internalIPs.includes(address)) continue;
    add(links.find(({ index }) => index === ifindex), "has the node's InternalIP");
  }
  for (const link of links) {
    if (networksOf(kernel, link).length === 0) continue;
    if (whyNot(kernel, link, choice) === undefined) add(link, "a NIC with an address");
  }
  // A macvlan and its lower device both answer ARP for the address, whichever has it (arp_ignore 0). An ipvlan receives what
  // is for its own addresses; its lower device what is for pods, snat_addr and VIPs.
  for (const { kind, name, peerIndex, peerNetnsId } of [...found.keys()]) {
    if ((kind !== "macvlan" && kind !== "ipvlan") || peerNetnsId !== undefined) continue;
    add(links.find(({ index }) => index === peerIndex), `carries ${name}`);
  }
  return found;
}

/** The devices of the default routes of all tables, the main table's best one first. */
function defaultDevices(routes: readonly Route[]): number[] {
  return routes
    .filter((route) => isDefaultRoute(route) && (route.type ?? "unicast") === "unicast")
    .sort((a, b) => rank(a) - rank(b) || (a.metric ?? 0) - (b.metric ?? 0))
    .flatMap(({ ifindex, multipath = [] }) => ifindex === undefined ? multipath : [ifindex]);
}

const rank = ({ table = TABLE_MAIN }: Route) => table === TABLE_MAIN ? 0 : 1;

/** VPNs split the default route into two halves, so as not to replace it. */
export function isDefaultRoute({ destination }: Route): boolean {
  return ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"].includes(destination);
}

/** Why a device without default route and InternalIP is no uplink; undefined: it is one. */
function whyNot(kernel: KernelDevices, link: Link, choice: UplinkChoice): string | undefined {
  const { podCIDRs = [] } = choice;
  const { kind, master } = link;
  const above = kernel.links.find(({ index }) => index === master);
  if (above !== undefined && above.kind !== "vrf") return `a port of ${above.name}`;
  if (kind === "bridge") {
    const ports = kernel.links.filter((port) => port.master === link.index);
    return ports.some(isNic) ? undefined : "a bridge without a NIC";
  }
  if (!NICS.has(kind)) return `a ${kind} device without a default route`;
  if (!isEthernet(link)) return "a device without Ethernet header and default route";
  if (kind !== "veth") return undefined;
  const outside = networksOf(kernel, link).some(({ address, prefixLength }) =>
    prefixLength < 31 && !podCIDRs.some((text) => contains(text, address))
  );
  return outside ? undefined : "the host end of a container's veth pair";
}

/** False also where the prefix is none, which src/routing reports. */
function contains(prefix: string, address: string): boolean {
  try {
    return parseNetwork(prefix).contains(address);
  } catch {
    return false;
  }
}

/** A port of a bridge that leads out of the node. */
function isNic({ kind }: Link): boolean {
  return NICS.has(kind) && kind !== "veth";
}
