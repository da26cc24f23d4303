/** Tunnels as uplinks: WireGuard, IPIP, GRE, IPv6's. */
import { isLinux } from "../../src/linux/release.ts";
import { BY_ROUTER, type Places, secondNic, type Shape, type Where } from "./uplink_shape.ts";

/** An end of a tunnel that has a default route in a table of its own. */
const tunnelEnd = (name: string, i: number, options: string, route = "") => `
  ip link add ${name} type ${options}
  ip link set ${name} up
  ip address add 10.98.${i}.1/30 dev ${name}
  ip route add default ${route} dev ${name} table 7${i}
  ip rule add from 10.98.${i}.1 table 7${i}`;
const farEnd = (name: string, i: number, options: string) => `
  ip link add ${name} type ${options}
  ip link set ${name} up
  ip address add 10.98.${i}.2/30 dev ${name}`;

/** Whether this kernel's GRE over IPv6 can be served. */
const IP6GRE = isLinux(5, 14);

/** Tunnels between the node and the machine outside: type, more options, over IPv6, with an Ethernet header. */
const TUNNELS: readonly [type: string, more: string, six?: boolean, ethernet?: boolean][] = [
  ["ipip", ""],
  ["gre", "key 2"],
  ["ip6tnl", "mode ipip6 encaplimit none", true],
  IP6GRE ? ["ip6gre", "key 4 encaplimit none", true] : ["gre", "key 4"],
  ["gretap", "key 5", false, true],
  ["ip6gretap", "key 6 encaplimit none", true, true],
];

/** Keys of WireGuard for the three machines, in a folder. */
const wireguardKeys = (dir: string): Shape["make"][number] => [
  "fabric",
  `umask 077
   for who in node1 node2 outside; do
     wg genkey >${dir}/$who.key; wg pubkey <${dir}/$who.key >${dir}/$who.pub
   done`,
];

/** A machine's end, and the peers that it has. */
const wireguardEnd = (dir: string, who: Where, address: string, ...peers: string[]) => `
  ip link add wg0 type wireguard
  wg set wg0 listen-port 51820 private-key ${dir}/${who}.key
  ip address add ${address}/24 dev wg0
  ip link set wg0 up
  ${peers.join("\n")}`;

const wireguardPeer = (dir: string, who: Where, allowed: string, endpoint: string) =>
  `wg set wg0 peer $(cat ${dir}/${who}.pub) allowed-ips ${allowed} endpoint ${endpoint}:51820`;

/**
 * Shakes hands with a peer, which the test's two ends would do at the same time: each then drops the other's response and waits
 * five seconds to begin again (noise.c), at times twice.
 */
const handshake = (where: Where, peer: string): Shape["make"][number] => [
  where,
  `ping -c 1 -w 60 ${peer}`,
];

/** The nodes' own network, and a client in it. */
const wireguard = (dir: string): Shape["make"] => {
  const [one, two, client] = [
    wireguardPeer(dir, "node1", "10.99.0.1/32,10.244.1.0/24", "192.168.50.11"),
    wireguardPeer(dir, "node2", "10.99.0.2/32,10.244.2.0/24", "192.168.50.12"),
    wireguardPeer(dir, "outside", "10.99.0.10/32", "198.51.100.10"),
  ];
  return [
    wireguardKeys(dir),
    ["node1", wireguardEnd(dir, "node1", "10.99.0.1", two, client)],
    ["node2", wireguardEnd(dir, "node2", "10.99.0.2", one)],
    ["outside", wireguardEnd(dir, "outside", "10.99.0.10", one)],
    handshake("outside", "10.99.0.1"),
    handshake("node1", "10.99.0.2"),
  ];
};

/** A VPN that takes all, as wg-quick(8) makes it of AllowedIPs = 0.0.0.0/0. */
const wgQuick = (dir: string): Shape["make"] => {
  const client = wireguardPeer(dir, "outside", "0.0.0.0/0", "198.51.100.10");
  const one = wireguardPeer(dir, "node1", "10.99.0.1/32", "192.168.50.11");
  return [
    wireguardKeys(dir),
    ["outside", wireguardEnd(dir, "outside", "10.99.0.10", one)],
    [
      "node1",
      `${wireguardEnd(dir, "node1", "10.99.0.1", client)}
       wg set wg0 fwmark 51820
       ip route add default dev wg0 table 75
       ip rule add not fwmark 51820 table 75 pref 5182
       ip rule add table main suppress_prefixlength 0 pref 5181`,
    ],
    handshake("outside", "10.99.0.1"),
  ];
};

export function tunnelShapes({ node, dir }: Places): Shape[] {
  return [
    {
      name: "WireGuard with the nodes' InternalIPs",
      make: wireguard(dir),
      devices: ["wg0"],
      internalIPs: ["10.99.0.1", "10.99.0.2"],
      paths: [{ uplink: "wg0", near: "10.99.0.1", far: "10.99.0.10" }],
      direct: true,
    },
    {
      name: "WireGuard that has the default route, as wg-quick makes it, beside eth0",
      make: wgQuick(dir),
      devices: ["wg0"],
      paths: [
        { uplink: "wg0", near: "10.99.0.1", far: "10.99.0.10" },
        { uplink: "eth0", ...BY_ROUTER, seenAs: [] },
      ],
    },
    {
      name: "IPIP, GRE and IPv6 tunnels with default routes of tables of their own",
      make: [
        ...secondNic(node, "fd00:77::1/64 nodad"),
        ["outside", "ip address add fd00:77::2/64 dev nic2 nodad"],
        ...TUNNELS.flatMap(([type, more, six, ethernet], n): Shape["make"] => {
          const i = n + 1;
          const [near, far] = six
            ? ["fd00:77::1", "fd00:77::2"]
            : ["192.168.50.11", "198.51.100.10"];
          const options = (local: string, remote: string) =>
            `${type} local ${local} remote ${remote} ${more}`;
          const route = ethernet ? `via 10.98.${i}.2` : "";
          return [
            ["node1", tunnelEnd(`tun${i}`, i, options(near!, far!), route)],
            ["outside", farEnd(`tun${i}`, i, options(far!, near!))],
          ];
        }),
      ],
      devices: ["eth1", ...TUNNELS.map((_, i) => `tun${i + 1}`)],
      paths: TUNNELS.map((_, i) => (
        { uplink: `tun${i + 1}`, near: `10.98.${i + 1}.1`, far: `10.98.${i + 1}.2` }
      )),
    },
    ...(IP6GRE ? [] : [{
      name: "GRE over IPv6, which cannot be served",
      make: [
        ["node1", tunnelEnd("six1", 9, "ip6gre local fd00:77::1 remote fd00:77::2 key 9")],
      ] satisfies Shape["make"],
      devices: ["six1"],
      paths: [],
      unserved: {
        device: "six1",
        text: /^six1 cannot be one: .* has a default route, but GRE over IPv6 needs Linux 5\.14/,
        next: /lead the route by a device/,
      },
    }]),
    {
      name: "GRE to many ends, which cannot be served",
      make: [["node1", tunnelEnd("nbma", 9, "gre local 192.168.50.11 key 9")]],
      devices: ["nbma"],
      paths: [],
      unserved: {
        device: "nbma",
        text: /^nbma cannot be one: .* has a default route.* \(type 778\)/,
        next: /give a GRE tunnel its remote/,
      },
    },
  ];
}
