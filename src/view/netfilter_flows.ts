/**
 * Pods' traffic that passes by chains of netfilter, as docs/coexistence.md lists it: representative packets, and the points
 * that each direction passes. pcnk's programs at tc ingress run ahead of the netdev family's chains; what they redirect does
 * not meet those at egress, either (nf_skip_egress of struct sk_buff).
 */
import type { Hook, Layer, Point } from "../netfilter/chain.ts";
import type { Bits } from "../netfilter/bits.ts";
import { unknown } from "../netfilter/bits.ts";
import {
  addresses,
  arp,
  type Device,
  type Devices,
  ipv4,
  type Packet,
  type Place,
  PROTOCOL,
  ROUTE_TYPE,
} from "../netfilter/packet.ts";

/** What of a node decides on its pods' packets. */
export interface NodeNetwork {
  /** The node's own address, and the index of the device that has it; undefined: unknown. */
  own: string;
  ownDevice?: number;
  /** Its address on the pods' network. */
  gateway: string;
  /** Addresses of its pods, and of other nodes' pods, as far as they agree. */
  pods: Bits;
  remotePods: Bits;
  /** Host ends of its pods' veth pairs. */
  podDevices: Device[];
  /** The pods' bridge. */
  bridge?: Device;
  uplinks: Device[];
  /** The overlay: its device, the tunnel's UDP port, and the other nodes' addresses. */
  overlay?: { device: Device; port: number; peers: string[] };
  /** Pods' packets to the world take the stack. */
  stack: boolean;
  /** Endpoints of Services at the node's own addresses. */
  endpoints: { addr: string; port: number; protocol: number }[];
}

/** One kind of traffic. */
export interface Flow {
  readonly traffic: string;
  /** Pods do not work as they should without it. */
  readonly needed: boolean;
  /** Its packets' destination port, where that says more than a device; `symmetric`: in both directions. */
  readonly match?: {
    readonly protocol: number;
    readonly port: number;
    readonly symmetric: boolean;
  };
  readonly ways: readonly { packet: Packet; points: readonly Point[] }[];
}

const { TCP, UDP, ICMP } = PROTOCOL;

export function flowsOf(node: NodeNetwork): Flow[] {
  if (node.podDevices.length === 0 && node.bridge === undefined) return [];
  return [
    arpFlow(node),
    ...neighbours(node),
    probes(node),
    ...node.endpoints.flatMap((endpoint) => endpointFlows(node, endpoint)),
    ...tunnel(node),
    ...remoteProbes(node),
    toOwn(node),
    forwarded(node),
  ];
}

const local = (texts: string[], rest: Pick<Place, "port" | "device"> = {}): Place => ({
  addr: addresses(texts),
  type: ROUTE_TYPE.LOCAL,
  ...rest,
});
const somewhere = (addr: Bits = unknown(4), port?: number): Place => ({
  addr,
  port,
  type: ROUTE_TYPE.UNICAST,
});

const at = (layer: Layer, hook: Hook, iif: Devices, oif: Devices = []): Point => ({
  layer,
  hook,
  iif,
  oif,
});

/** The device by which the stack gets pods' packets. */
const podsDevice = ({ bridge, podDevices }: NodeNetwork) => bridge ? [bridge] : podDevices;

/** From a pod up to the stack, and back. */
function fromPod({ bridge, podDevices }: NodeNetwork): Point[] {
  const device = at("netdev", "ingress", podDevices);
  if (bridge === undefined) return [device];
  return [
    device,
    at("bridge", "prerouting", podDevices),
    at("bridge", "input", podDevices),
    at("netdev", "ingress", [bridge]),
  ];
}

function toPod({ bridge, podDevices }: NodeNetwork): Point[] {
  const device = at("netdev", "egress", [], podDevices);
  if (bridge === undefined) return [device];
  return [
    at("netdev", "egress", [], [bridge]),
    at("bridge", "output", [], podDevices),
    at("bridge", "postrouting", [], podDevices),
    device,
  ];
}

const input = (iif: Device[]) => [at("ip", "prerouting", iif), at("ip", "input", iif)];
const output = (oif: Device[]) => [at("ip", "output", [], oif), at("ip", "postrouting", [], oif)];

/** Requests of `protocols` one way, replies the other. */
function both(
  [src, dst]: [Place, Place],
  protocols: number[],
  there: Point[],
  back: Point[],
): Flow["ways"] {
  return protocols.flatMap((protocol) => [
    { packet: ipv4({ src, dst, protocol }), points: there },
    { packet: ipv4({ src: dst, dst: src, protocol, reply: true }), points: back },
  ]);
}

function arpFlow(node: NodeNetwork): Flow {
  const device = podsDevice(node), gateway = addresses([node.gateway]);
  return {
    traffic: "pods' ARP requests for their gateway, without which they reach nothing",
    needed: true,
    ways: [
      {
        packet: arp({ src: node.pods, dst: gateway }),
        points: [...fromPod(node), at("arp", "input", device)],
      },
      {
        packet: arp({ src: gateway, dst: node.pods, reply: true }),
        points: [at("arp", "output", [], device), ...toPod(node)],
      },
    ],
  };
}

function neighbours({ bridge, pods, podDevices }: NodeNetwork): Flow[] {
  if (bridge === undefined) return [];
  const points = [
    at("netdev", "ingress", podDevices),
    at("bridge", "prerouting", podDevices),
    at("bridge", "forward", podDevices, podDevices),
    at("bridge", "postrouting", [], podDevices),
    at("netdev", "egress", [], podDevices),
  ];
  return [{
    traffic: "ARP between pods of this node",
    needed: true,
    ways: [false, true].map((reply) => ({
      packet: arp({ src: pods, dst: pods, reply }),
      points,
    })),
  }];
}

function probes(node: NodeNetwork): Flow {
  const device = podsDevice(node);
  return {
    traffic: "packets of this node's own processes to its pods (kubelet's probes)",
    needed: true,
    ways: both(
      [local([node.gateway], { device: node.bridge?.index }), somewhere(node.pods)],
      [TCP, UDP],
      [...output(device), ...toPod(node)],
      [...fromPod(node), ...input(device)],
    ),
  };
}

function endpointFlows(
  node: NodeNetwork,
  { addr, port, protocol }: NodeNetwork["endpoints"][number],
): Flow[] {
  const device = podsDevice(node);
  const endpoint = local([addr], { port, device: node.ownDevice });
  const match = { protocol, port, symmetric: false };
  return [
    {
      traffic: `pods' packets to the Service endpoint ${addr}:${port} at this node's own address`,
      needed: true,
      match,
      ways: both(
        [somewhere(node.pods), endpoint],
        [protocol],
        [...fromPod(node), ...input(device)],
        [...output(device), ...toPod(node)],
      ),
    },
    {
      traffic: `packets from other nodes and from outside to the Service endpoint ${addr}:${port}`,
      needed: false,
      match,
      ways: both(
        [somewhere(), endpoint],
        [protocol],
        [at("netdev", "ingress", node.uplinks), ...input(node.uplinks)],
        [...output(node.uplinks), at("netdev", "egress", [], node.uplinks)],
      ),
    },
  ];
}

function tunnel({ overlay, uplinks, own, ownDevice }: NodeNetwork): Flow[] {
  if (overlay === undefined || overlay.peers.length === 0) return [];
  const here = local([own], { device: ownDevice }), there = somewhere(addresses(overlay.peers));
  const { port } = overlay;
  const sent = ipv4({ src: here, dst: { ...there, port }, protocol: UDP });
  const received = ipv4({ src: there, dst: { ...here, port }, protocol: UDP });
  return [{
    traffic: "the overlay's tunnel: all packets from and to other nodes' pods",
    needed: true,
    match: { protocol: UDP, port, symmetric: true },
    ways: [
      { packet: sent, points: [...output(uplinks), at("netdev", "egress", [], uplinks)] },
      { packet: received, points: [at("netdev", "ingress", uplinks), ...input(uplinks)] },
    ],
  }];
}

/** From this node's processes to other nodes' pods. */
function remoteProbes({ overlay, uplinks, own, gateway, remotePods }: NodeNetwork): Flow[] {
  const device = overlay ? [overlay.device] : uplinks;
  if (remotePods.known.every((byte) => byte === 0) || device.length === 0) return [];
  return [{
    traffic: "packets of this node's own processes to pods of other nodes",
    needed: true,
    ways: both(
      [local([gateway, own]), somewhere(remotePods)],
      [TCP, UDP],
      [...output(device), at("netdev", "egress", [], device)],
      [at("netdev", "ingress", device), ...input(device)],
    ),
  }];
}

function toOwn(node: NodeNetwork): Flow {
  const device = podsDevice(node);
  return {
    traffic: "pods' packets to this node's own addresses, and to Services with an endpoint there",
    needed: false,
    ways: both(
      [somewhere(node.pods), local([node.own], { device: node.ownDevice })],
      [TCP, UDP, ICMP],
      [...fromPod(node), ...input(device)],
      [...output(device), ...toPod(node)],
    ),
  };
}

function forwarded(node: NodeNetwork): Flow {
  const device = podsDevice(node), { stack, uplinks, pods } = node;
  const far = stack ? uplinks : "any";
  const through = (iif: Devices, oif: Devices): Point[] => [
    at("ip", "prerouting", iif),
    at("ip", "forward", iif, oif),
    at("ip", "postrouting", [], oif),
  ];
  const protocols = [TCP, UDP, ICMP];
  const ways = protocols.flatMap((protocol) => [
    {
      packet: ipv4({ src: somewhere(pods), dst: somewhere(), protocol, fragments: true }),
      points: [...fromPod(node), ...through(device, far)],
    },
    {
      packet: ipv4({
        src: somewhere(),
        dst: somewhere(pods),
        protocol,
        reply: true,
        fragments: true,
      }),
      points: [...through(far, device), ...toPod(node)],
    },
  ]);
  return {
    traffic: stack
      ? "pods' packets to the world and back (podEgress: stack)"
      : "pods' packets to devices that are no uplinks (other bridges, VPNs) and back, those with IP options or to be fragmented, and hostPorts by netfilter; not to the world",
    needed: stack,
    ways,
  };
}
