/**
 * What may be a node's uplink, as commands that make it of the lab's veths: on its first node (192.168.50.11 at eth0, behind
 * the port node1 of the fabric's bridge), on the fabric (192.168.50.1), and on the machine outside (198.51.100.10).
 */

/** Where commands run. */
export type Where = "node1" | "node2" | "fabric" | "outside";

/** An address of the node that takes NodePorts, and the client's beyond it that a pod asks. */
interface Path {
  /** The device. */
  uplink: string;
  near: string;
  far: string;
  /** What the client may see of pods. Default: `near`. Empty: pods do not ask it, whose UDP server replies from another address. */
  seenAs?: readonly string[];
}

/** One way to be connected. */
export interface Shape {
  name: string;
  /** Shell commands, in this order. `ip` and `wg` act on the namespace. */
  make: readonly [where: Where, script: string][];
  /** Devices of the node, and rules, to remove afterwards; addresses of eth0 come back by themselves. */
  devices: readonly string[];
  paths: readonly Path[];
  /** InternalIPs of the nodes, where they are not the lab's. */
  internalIPs?: readonly [string, string];
  /** Also try direct routes to the other node's pods: both nodes are on one network. */
  direct?: boolean;
  /** A device that cannot be served. */
  unserved?: { device: string; text: RegExp; next: RegExp };
}

/** The client outside, by the fabric's router. */
export const BY_ROUTER = { near: "192.168.50.11", far: "198.51.100.10" };
/** The client outside, by a link of its own. */
export const BY_LINK = { near: "203.0.113.33", far: "203.0.113.34" };

/** Moves the node's address and default route from eth0 to a device. */
export const move = (device: string) => `
  ip address flush dev eth0
  ip link set ${device} up
  ip address add 192.168.50.11/24 dev ${device}
  ip route replace default via 192.168.50.1 dev ${device}`;

/** A second veth of the node, whose other end is nic2 outside. `more`: options of the node's addresses. */
export const secondNic = (nodeNs: string, near = "203.0.113.33/24"): Shape["make"] => [
  [
    "outside",
    `ip link add nic2 type veth peer name eth1 netns ${nodeNs}
     ip address add 203.0.113.34/24 dev nic2
     ip link set nic2 up`,
  ],
  ["node1", `ip link set eth1 up; ip address add ${near} dev eth1`],
];

/** What commands of other places are about. */
export interface Places {
  /** Namespace of the first node. */
  node: string;
  /** Of the machine outside. */
  outside: string;
  /** A folder for keys. */
  dir: string;
}

/** Removes what any of them made, and gives eth0 its address back. */
export function undo({ devices }: Shape): Shape["make"] {
  const make: Shape["make"] = [
    [
      "node1",
      `for table in 71 72 73 74 75 76 77 79; do while ip rule del table $table; do :; done; done
       ip rule del pref 5181
       for device in ${devices.join(" ")}; do ip link del $device; done
       ip address del 203.0.113.9/32 dev lo
       ip address del 10.97.0.1/32 dev lo
       ip address del 192.168.50.21/24 dev eth0
       ip route del 192.168.50.12
       ip link set eth0 nomaster up
       ip address replace 192.168.50.11/24 dev eth0
       ip route replace default via 192.168.50.1 dev eth0`,
    ],
    ["node2", "ip link del wg0"],
    [
      "fabric",
      `for device in node1b node1.7; do ip link del $device; done
       for to in 203.0.113.9 203.0.113.7 10.97.0.1; do ip route del $to; done
       ip link set node1 master fabric`,
    ],
    [
      "outside",
      "for device in nic2 wg0 tun1 tun2 tun3 tun4 tun5 tun6; do ip link del $device; done",
    ],
  ];
  return make.map(([where, script]) => [where, `set +e\n${script}\ntrue`]);
}
