/**
 * The devices to the other nodes and the world, and the node's own addresses. docs/node.md has the rule as a table; this file
 * reads the kernel, uplink_rule.ts judges.
 */
import type { Link, RtNetlink } from "../../linux/rtnetlink.ts";
import type { Uplink } from "../../routing/types.ts";
import { type DeviceChoice, judgeDevices, networksOf, type UplinkChoice } from "./uplink_rule.ts";

type Devices = Pick<RtNetlink, "links" | "routes" | "addrs">;

/** Uplinks and addresses of this node. */
export interface NodeDevices {
  /** The best default route's first, or in the order of the names. */
  uplinks: Uplink[];
  /** Every device that is an uplink or might have been expected to be one, and why. */
  choices: DeviceChoice[];
  /** Names and patterns that no device has. */
  missing: string[];
  /** Where NodePorts answer: the addresses of all devices but 127.0.0.0/8, VIPs on lo or dummy devices among them. */
  addresses: string[];
  /** The pods' bridge; zeros: there is none. */
  bridge: Pick<Link, "index" | "mtu">;
}

/** The dummy device that kube-proxy's IPVS mode gives every Service's address: none of them is the node's. */
const IPVS_DEVICE = "kube-ipvs0";

export function findDevices(nl: Devices, choice: UplinkChoice): NodeDevices {
  const kernel = { links: nl.links(), addresses: nl.addrs(), routes: nl.routes(ALL_TABLES) };
  const { choices, missing } = judgeDevices(kernel, choice);
  const ipvs = kernel.links.find(({ name }) => name === IPVS_DEVICE)?.index;
  const addresses = kernel.addresses
    .filter(({ ifindex, address }) => ifindex !== ipvs && !address.startsWith("127."))
    .map(({ address }) => address);
  const uplinks = choices.filter(({ uplink }) => uplink).map(({ link }): Uplink => ({
    ifindex: link.index,
    name: link.name,
    mtu: link.mtu,
    addresses: networksOf(kernel, link),
  }));
  const { index = 0, mtu = 0 } = kernel.links.find(({ name }) => name === choice.bridge) ?? {};
  return { uplinks, choices, missing, addresses: [...new Set(addresses)], bridge: { index, mtu } };
}

/** For `routes()`. */
const ALL_TABLES = 0;

/** What the world is to see of pods that leave by this uplink: the node's InternalIP where it is here, else its first. */
export function masqueradeAddress(uplink: Uplink, internalIPs: readonly string[]): string {
  const here = uplink.addresses.map(({ address }) => address);
  return internalIPs.find((address) => here.includes(address)) ?? here[0] ?? internalIPs[0] ??
    "0.0.0.0";
}
