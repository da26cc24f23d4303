/**
 * The pods' bridge: that it is there and up, with the addresses and the MAC address that pods know.
 *
 * The bridge plugin makes it at a node's first ADD. When it is gone while pods run it is made again here, because no other ADD
 * may come; its ports are pods.ts's.
 */
import type { Link, LinkChange, RtNetlink } from "../linux/rtnetlink.ts";
import { addressOf } from "../net/address.ts";
import { parseInterface, Prefix } from "../net/prefix.ts";
import type { NodeObjects } from "../node/state_files.ts";
import type { Fault, NodeState } from "./fault.ts";

/** @returns of the bridge that the setting names */
export function bridgeFaults({ nl, links, records, objects }: NodeState): Fault[] {
  const { bridge: name, bridgeMac: mac, bridgeAddresses: addresses } = objects;
  const link = nl.link(name);
  const next = "restart the agent, which makes it again; see its log";
  if (link === undefined) {
    const ports = records.filter(({ bridge }) => bridge === name).length;
    if (ports === 0) return [];
    const renamed = links().find((one) => one.kind === "bridge" && one.mac === mac);
    if (renamed !== undefined) return [renamedFault(nl, renamed, name, "the pods' bridge")];
    const text = `the pods' bridge ${name} is gone, with ${ports} pods on it`;
    return [{ object: name, text, next, mend: () => makeBridge(nl, name, mac, addresses) }];
  }
  if (link.kind !== "bridge") {
    const text = `${name} is no bridge but a ${link.kind ?? "device"}: no pod can be added`;
    const rename = `rename it: ip link set ${name} down && ip link set ${name} name OTHER`;
    return [{ object: name, text, next: rename, refuses: true }];
  }
  const faults: Fault[] = [];
  if (!link.up) {
    const text = `the pods' bridge ${name} is down`;
    const mend = () => nl.setLink(link.index, { up: true });
    faults.push({ object: `${name} up`, text, next: `ip link set ${name} up`, mend });
  }
  if (mac !== undefined && link.mac !== mac) {
    const text = `${name} has the MAC address ${link.mac}; pods know it by ${mac}`;
    const mend = () => nl.setLink(link.index, { mac });
    faults.push({ object: `${name} MAC`, text, next: `ip link set ${name} address ${mac}`, mend });
  }
  return [...faults, ...switchFaults(nl, link, objects), ...addressFaults(nl, link, addresses)];
}

/** What keeps a bridge that is up from switching and from the stack of the node. */
function switchFaults(nl: RtNetlink, link: Link, { cniConfDir, podMtu = 0 }: NodeObjects): Fault[] {
  const { name, index, master, mtu, noArp, bridge } = link;
  const off = { stp: false, vlanFiltering: false };
  const set = (change: LinkChange) => () => nl.setLink(index, change);
  const faults: [
    wrong: boolean | undefined,
    object: string,
    text: string,
    next: string,
    () => void,
  ][] = [
    [
      master !== undefined,
      "master",
      `is a port of another device (index ${master}): the node's routes to pods are in effect there`,
      `ip link set ${name} nomaster`,
      set({ master: 0 }),
    ],
    [
      noArp,
      "ARP",
      "does not reply to ARP: pods do not find their gateway",
      `ip link set ${name} arp on`,
      set({ arp: true }),
    ],
    [
      bridge?.stp,
      "STP",
      "runs STP: a new pod waits 30 s for its network",
      `ip link set ${name} type bridge stp_state 0`,
      () => nl.setBridge(index, { ...off, vlanFiltering: bridge!.vlanFiltering }),
    ],
    // In a network of one's own making the bridge plugin's setting `vlan` turns it on.
    [
      bridge?.vlanFiltering && cniConfDir !== undefined,
      "VLANs",
      "filters VLANs: what pods send may be dropped",
      `ip link set ${name} type bridge vlan_filtering 0`,
      () => nl.setBridge(index, { ...off, stp: bridge!.stp }),
    ],
    [
      mtu < podMtu,
      "MTU",
      `has MTU ${mtu}; pods send up to ${podMtu} bytes`,
      `ip link set ${name} mtu ${podMtu}`,
      set({ mtu: podMtu }),
    ],
  ];
  return faults.filter(([wrong]) => wrong).map(([, object, text, next, mend]) => ({
    object: `${name} ${object}`,
    text: `the pods' bridge ${name} ${text}`,
    next,
    mend,
  }));
}

/** By udev, or a hand: what is on record by its name is not found any more. */
export function renamedFault(nl: RtNetlink, link: Link, name: string, what: string): Fault {
  return {
    object: `${name} name`,
    text: `${what} ${name} has been renamed ${link.name}`,
    next: `ip link set ${link.name} down && ip link set ${link.name} name ${name} up`,
    mend: () => {
      nl.setLink(link.index, { up: false }); // before Linux 6.4 only a device that is down can be renamed
      nl.setLink(link.index, { name });
      nl.setLink(link.index, { up: true });
    },
  };
}

/** The bridge plugin refuses every ADD unless the address of new pods' gateway comes first. */
function addressFaults(nl: RtNetlink, { name, index }: Link, wanted: readonly string[]): Fault[] {
  const held = heldAddresses(nl, index);
  const missing = wanted.filter((one) => !held.includes(one));
  const second = wanted.length > 0 && missing.length === 0 && held[0] !== wanted[0];
  if (missing.length === 0 && !second) return [];
  const text = second
    ? `${name} has the address ${held[0]} before ${wanted[0]}: the bridge plugin refuses every ADD`
    : `${name} lacks the address ${missing.join(", ")}, the gateway of pods`;
  return [{
    object: `${name} address`,
    text,
    next: `ip addr replace ${wanted[0]} dev ${name}`,
    refuses: true,
    mend: () => setAddresses(nl, index, held, wanted),
  }];
}

/** Others' addresses stay, behind those that are wanted. */
function setAddresses(
  nl: RtNetlink,
  ifindex: number,
  held: readonly string[],
  wanted: readonly string[],
): void {
  const inFront = held[0] !== wanted[0] ? held : [];
  for (const one of inFront) nl.delAddr(addressFrom(one, ifindex));
  for (const one of new Set([...wanted, ...inFront])) addAddress(nl, ifindex, one);
}

function makeBridge(
  nl: RtNetlink,
  name: string,
  mac: string | undefined,
  addresses: readonly string[],
): void {
  nl.addLink(mac === undefined ? { kind: "bridge", name } : { kind: "bridge", name, mac });
  const { index } = nl.link(name)!;
  for (const one of addresses) addAddress(nl, index, one);
  nl.setLink(index, { up: true });
}

function addAddress(nl: RtNetlink, ifindex: number, text: string): void {
  nl.addAddr({ ...addressFrom(text, ifindex), broadcast: broadcastOf(text) });
}

function addressFrom(text: string, ifindex: number) {
  const { address, length: prefixLength } = parseInterface(text, 4);
  return { ifindex, address, prefixLength };
}

/** The last address, as iproute2 and the bridge plugin set it. */
function broadcastOf(text: string): string {
  const { address, length } = parseInterface(text, 4);
  return addressOf(new Prefix(address, length).last);
}

/** Addresses of a device with prefix lengths, in the kernel's order. */
export function heldAddresses(nl: RtNetlink, ifindex: number): string[] {
  return nl.addrs(ifindex).map(({ address, prefixLength }) => `${address}/${prefixLength}`);
}
