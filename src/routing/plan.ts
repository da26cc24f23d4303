/**
 * Which way packets go to the pods of other nodes: from the cluster's nodes to the devices, routes, neighbours and map
 * entries that this node should hold. Pure; diff.ts compares the result with the kernel, src/agent/routing changes the kernel.
 *
 * Design notes and history
 *
 * VXLAN carries Ethernet frames, but nothing here switches them: each node has its own podCIDR, and the overlay only
 * ever routes. So a sender has to know only which node has the podCIDR, and Node objects say so.
 *
 * 1. Asking (flannel's first version, and VXLAN as RFC 7348 has it): the device floods or asks user space for each
 *    unknown MAC and address. A daemon that is slow or restarts is an outage.
 * 2. Three tables a node (flannel since 2017, Calico): route to the podCIDR via the peer, neighbour with the peer's MAC,
 *    FDB entry from that MAC to the peer's address. No questions any more, but the MAC addresses have to be published
 *    (annotations), and go stale when systemd-udev, NetworkManager or a reboot gives the device another
 *    one (flannel #1155, #1330, #1788, #1795).
 * 3. Here: the device is in external ("metadata") mode and knows no peer at all. Who sends says where to: eBPF
 *    for pods (map `remotes`, one look-up), and for the node itself the route, which carries identifier and far end
 *    (`encap ip id VNI dst NODE`). No FDB. MAC addresses follow from InternalIPs (02:70 and its four bytes), so no node
 *    publishes them, and one given at creation is not rewritten by systemd-udev (MACAddressPolicy leaves an address
 *    that was set alone). They differ from node to node because a VXLAN device drops frames from its own address.
 *    Size: per peer one route, one neighbour, one map entry.
 *
 * Traps, each found by trying or in the neighbours' issue trackers
 *
 * - The permanent neighbours save the first packet an ARP round trip. Changing the device's MAC flushes them, setting
 *   the device down flushes routes and neighbours both: diff.ts counts on neither surviving.
 * - A device in external mode takes every VNI. dispatcher_from_overlay has to look at the tunnel key.
 * - Only one external device can have a UDP port, and none may share it with a plain VXLAN device: EEXIST or EADDRINUSE (cilium
 *   #2925, #8990). src/agent/routing names the device that is in the way.
 * - Outer UDP checksum zero (allowed over IPv4; what lwtunnel does unless told `csum`; eBPF has to ask for it with
 *   BPF_F_ZERO_CSUM_TX). That is what keeps the checksum bugs of netfilter (flannel #1279, k3s #2013) away. Some NICs (vmxnet3
 *   with a port that is not the standard one) spoil the inner checksum: `checksumOffload: false` has it computed in
 *   software before the packet enters the tunnel (calico #3145, #9433).
 * - Strict reverse path filtering drops what a node sends from its InternalIP to pods behind the overlay, and
 *   what comes while the two ends of a pair disagree on direct routing for a moment. Loose (2) is enough, and on the
 *   device it also wins over a strict `conf/all`: the kernel takes the greater. systemd sets it again
 *   whenever a device appears (cilium #10645), so src/agent/routing watches it.
 * - The device's own address is the podCIDR's base, a /32: source of what this node sends to remote pods, since the
 *   reply has to find its way back through the tunnel. Kernels before 5.14 make that same address a broadcast address of
 *   the bridge, which wins when the bridge is older than the device: diff.ts removes it.
 * - Packets to pods that do not exist must not leave by the default route (and come back, and leave again): a route of
 *   type unreachable for the own podCIDR stands behind the bridge's.
 * - IPv6 is off on the device: its link-local address and router solicitations have nowhere to go.
 * - TTL: 0 in the route means the kernel's default for the outer packet. DF stays clear on the outside: the inner
 *   packet has been measured against the device's MTU, and behind a smaller link fragments are better than silence.
 */
import { addressBytes } from "../net/address.ts";
import { formatMac } from "../net/mac.ts";
import type { Prefix } from "../net/prefix.ts";
import { type CheckedNode, checkNodes } from "./nodes.ts";
import { chooseWay, subnetsOf, type Way } from "./reach.ts";
import type {
  Peer,
  PlannedNeighbour,
  PlannedRoute,
  Problem,
  Remote,
  RoutingInput,
  RoutingPlan,
  RoutingSettings,
  SysctlWish,
  Uplink,
} from "./types.ts";

/** What VXLAN over IPv4 puts around a packet: Ethernet 14, IP 20, UDP 8, VXLAN 8 bytes (RFC 7348, 5). */
const OVERLAY_BYTES = 50;

/** The MTU of pods when no uplink is known. */
const ETHERNET_MTU = 1500;

const NO_MAC = "00:00:00:00:00:00";

/** MAC address of a node's overlay device: locally administered, from the four bytes of its InternalIP. */
export function overlayMac(address: string): string {
  return `02:70:${formatMac(addressBytes(address))}`;
}

/**
 * What this node should hold. Never throws for the cluster's data: what cannot be used is left out and reported.
 * @throws {RangeError} for settings out of range
 */
export function planRouting(
  { own: name, nodes, settings, uplinks, vpcRoutes }: RoutingInput,
): RoutingPlan {
  checkSettings(settings);
  const { own, peers, problems } = checkNodes(name, nodes, uplinks);
  const mtu = planMtu(settings, uplinks, name, problems);
  const plan: RoutingPlan = { ...emptyPlan(settings.overlay.vni, mtu), problems };
  if (own === undefined) return { ...plan, usable: false };
  if (uplinks.length === 0) {
    const message =
      "no device to other nodes is known: all of them are reached through the overlay";
    problems.push({ code: "no-uplink", node: name, message });
  }
  const { device, port, checksumOffload } = settings.overlay;
  plan.device = {
    name: device,
    port,
    mac: overlayMac(own.address),
    mtu,
    checksumOffload,
    address: own.podCIDRs[0]?.address,
  };
  for (const prefix of own.podCIDRs) {
    plan.routes.push({ type: "unreachable", destination: prefix.text });
  }
  const around = { subnets: uplinks.flatMap(subnetsOf), vpcRoutes };
  for (const peer of peers) {
    addPeer(plan, peer, chooseWay(own, peer, settings, around));
  }
  plan.sysctls = planSysctls(device, uplinks);
  return plan;
}

/** The plan of a node that wants nothing: applied, it takes away all that was ever planned. */
export function emptyPlan(vni = 0, mtu = ETHERNET_MTU): RoutingPlan {
  return {
    usable: true,
    vni,
    mtu,
    routes: [],
    neighbours: [],
    remotes: [],
    tunnelled: true,
    sysctls: [],
    peers: [],
    problems: [],
  };
}

function checkSettings({ overlay: { vni, port }, mtu }: RoutingSettings) {
  const check = (what: string, value: number, low: number, high: number) => {
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new RangeError(`${what} ${value}: must be ${low} to ${high}`);
    }
  };
  check("overlay.vni", vni, 1, 2 ** 24 - 1);
  check("overlay.port", port, 1, 65535);
  // RFC 791: every host takes datagrams of 576 bytes.
  if (mtu !== undefined) check("mtu", mtu, 576, 65535 - OVERLAY_BYTES);
}

/** The smallest uplink decides: any of them may be the one that carries the tunnel. */
function planMtu(
  { mtu }: RoutingSettings,
  uplinks: readonly Uplink[],
  node: string,
  problems: Problem[],
): number {
  const smallest = uplinks.reduce<Uplink | undefined>(
    (least, uplink) => least !== undefined && least.mtu <= uplink.mtu ? least : uplink,
    undefined,
  );
  const room = (smallest?.mtu ?? ETHERNET_MTU) - OVERLAY_BYTES;
  if (mtu === undefined) return room;
  if (smallest !== undefined && mtu > room) {
    const message = `mtu ${mtu} is more than ${smallest.name} carries through the overlay ` +
      `(${smallest.mtu} - ${OVERLAY_BYTES} = ${room}): big packets will be fragmented`;
    problems.push({ code: "mtu-too-big", node, message });
  }
  return mtu;
}

function addPeer(plan: RoutingPlan, peer: CheckedNode, way: Way) {
  if (way.mode === "overlay" && !way.only) plan.tunnelled = false;
  const nodeAddr = way.mode === "overlay" ? way.farEnd : way.nextHop;
  const mac = overlayMac(peer.address);
  const prefixes = peer.podCIDRs.map(({ text }) => text);
  peer.podCIDRs.forEach((prefix, i) => {
    const { route, neighbour } = way.mode === "overlay"
      ? overlayRoute(prefixes[i]!, prefix, nodeAddr, mac, plan.vni)
      : directRoute(prefixes[i]!, nodeAddr, way.ifindex);
    plan.routes.push(route);
    if (neighbour !== undefined) plan.neighbours.push(neighbour);
    plan.remotes.push(
      {
        prefix: prefixes[i]!,
        mode: way.mode === "overlay" ? "overlay" : "direct",
        nodeAddr,
        mac: way.mode === "overlay" ? mac : NO_MAC,
      } satisfies Remote,
    );
  });
  plan.peers.push(
    {
      node: peer.name,
      mode: way.mode,
      reason: way.reason,
      nodeAddr,
      podCIDRs: prefixes,
    } satisfies Peer,
  );
}

interface Entries {
  route: PlannedRoute;
  neighbour?: PlannedNeighbour;
}

function directRoute(destination: string, gateway: string, ifindex: number): Entries {
  return { route: { type: "direct", destination, gateway, ifindex } };
}

function overlayRoute(
  destination: string,
  prefix: Prefix,
  farEnd: string,
  mac: string,
  vni: number,
): Entries {
  const gateway = prefix.address;
  return {
    route: { type: "overlay", destination, gateway, encap: { id: vni, destination: farEnd } },
    neighbour: { address: gateway, mac },
  };
}

function planSysctls(overlay: string, uplinks: readonly Uplink[]): SysctlWish[] {
  const devices = [overlay, ...uplinks.map(({ name }) => name)];
  const conf = (device: string, name: string) => `net/ipv4/conf/${device}/${name}`;
  return [
    {
      name: "net/ipv4/ip_forward",
      value: "1",
      when: "differs",
      why: "pods' packets are forwarded",
    },
    ...devices.flatMap((device): SysctlWish[] => [
      {
        name: conf(device, "forwarding"),
        value: "1",
        when: "differs",
        why: `pods' packets come in by ${device}; a device's own setting overrides ip_forward`,
      },
      {
        name: conf(device, "rp_filter"),
        value: "2",
        when: "strict",
        why: `what comes in by ${device} may be answered on another path`,
      },
    ]),
    {
      name: `net/ipv6/conf/${overlay}/disable_ipv6`,
      value: "1",
      when: "differs",
      why: "the overlay carries IPv4",
    },
  ];
}
