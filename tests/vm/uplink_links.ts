/** Uplinks of Ethernet frames, and ways of routing. */
import { BY_LINK, BY_ROUTER, move, type Places, secondNic, type Shape } from "./uplink_shape.ts";

export function linkShapes({ node, outside }: Places): Shape[] {
  return [
    {
      name: "a bond of two veths",
      make: [
        [
          "fabric",
          `ip link add node1b type veth peer name eth1 netns ${node}
           ip link set node1b master fabric up`,
        ],
        [
          "node1",
          `ip link add bond0 type bond mode active-backup miimon 100
           for port in eth0 eth1; do ip link set $port down; ip link set $port master bond0; done
           ${move("bond0")}`,
        ],
      ],
      devices: ["bond0", "eth1"],
      paths: [{ uplink: "bond0", ...BY_ROUTER }],
      direct: true,
    },
    {
      name: "a VLAN",
      make: [
        [
          "fabric",
          `ip link set node1 nomaster
           ip link add link node1 name node1.7 type vlan id 7
           ip link set node1.7 master fabric up`,
        ],
        ["node1", `ip link add link eth0 name eth0.7 type vlan id 7\n${move("eth0.7")}`],
      ],
      devices: ["eth0.7"],
      paths: [{ uplink: "eth0.7", ...BY_ROUTER }],
      direct: true,
    },
    {
      name: "a bridge, to clients of the network and to a VM at another port",
      make: [
        [
          "node1",
          `ip link add br0 type bridge
           ip link set eth0 master br0
           ${move("br0")}
           ip link add vnet0 type veth peer name nic2 netns ${outside}
           ip link set vnet0 master br0 up`,
        ],
        [
          "outside",
          `ip link set nic2 up
           ip address add 192.168.50.77/32 dev nic2
           ip route add 192.168.50.11 dev nic2 src 192.168.50.77`,
        ],
      ],
      devices: ["br0", "vnet0"],
      paths: [{ uplink: "br0", near: "192.168.50.11", far: "192.168.50.77" }],
      direct: true,
    },
    {
      name: "a bridge over a VLAN, without default route",
      make: [
        [
          "fabric",
          `ip link add link node1 name node1.9 type vlan id 9
           ip link set node1.9 netns ${outside}`,
        ],
        ["outside", "ip link set node1.9 name nic2 up; ip address add 203.0.113.34/24 dev nic2"],
        [
          "node1",
          `ip link add link eth0 name eth0.9 type vlan id 9
           ip link add br9 type bridge
           ip link set eth0.9 master br9 up
           ip link set br9 up
           ip address add 203.0.113.33/24 dev br9`,
        ],
      ],
      devices: ["br9", "eth0.9"],
      paths: [{ uplink: "br9", ...BY_LINK }],
    },
    {
      name: "a macvlan",
      make: [
        ["node1", `ip link add link eth0 name mv0 type macvlan mode bridge\n${move("mv0")}`],
      ],
      devices: ["mv0"],
      paths: [{ uplink: "mv0", ...BY_ROUTER }],
      direct: true,
    },
    {
      name: "a macvlan beside the device that carries it",
      make: [
        [
          "node1",
          `ip link add link eth0 name mv0 type macvlan mode bridge
           ${move("mv0")}
           ip address add 192.168.50.21/24 dev eth0 noprefixroute`,
        ],
      ],
      devices: ["mv0"],
      paths: [
        { uplink: "mv0", ...BY_ROUTER },
        { uplink: "eth0", near: "192.168.50.21", far: "198.51.100.10", seenAs: ["192.168.50.11"] },
      ],
    },
    {
      name: "an ipvlan",
      make: [["node1", `ip link add link eth0 name ipv0 type ipvlan mode l2\n${move("ipv0")}`]],
      devices: ["ipv0"],
      paths: [{ uplink: "ipv0", ...BY_ROUTER }],
      direct: true,
    },
    {
      name: "a second NIC without default route",
      make: secondNic(node),
      devices: ["eth1"],
      paths: [{ uplink: "eth1", ...BY_LINK }],
    },
    {
      name: "a NIC of a VRF, to which a route of the main table leads",
      make: [
        [
          "outside",
          `ip link add nic2 type veth peer name eth1 netns ${node}
           ip address add 203.0.113.34/24 dev nic2
           ip link set nic2 up`,
        ],
        [
          "node1",
          `ip link add blue type vrf table 88
           ip link set blue up
           ip link set eth1 master blue up
           ip address add 203.0.113.33/24 dev eth1
           ip route add 203.0.113.34 dev eth1`,
        ],
      ],
      devices: ["eth1", "blue"],
      paths: [{ uplink: "eth1", ...BY_LINK }],
    },
    {
      name: "policy routing: pods leave by a second NIC",
      make: [
        ...secondNic(node),
        [
          "node1",
          `ip route add default via 203.0.113.34 dev eth1 table 77
           ip rule add from 10.244.1.0/24 table 77 pref 5182
           ip rule add from 203.0.113.33 table 77 pref 5182
           ip rule add to 10.244.0.0/16 table main pref 5181`,
        ],
        ["outside", "ip route add 203.0.113.33 dev nic2 src 198.51.100.10"],
      ],
      devices: ["eth1"],
      paths: [{ uplink: "eth1", near: "203.0.113.33", far: "198.51.100.10" }],
    },
    {
      name: "VIPs on lo and on a dummy device",
      make: [
        [
          "node1",
          `ip address add 203.0.113.9/32 dev lo
           ip link add dummy0 type dummy
           ip link set dummy0 up
           ip address add 203.0.113.7/32 dev dummy0`,
        ],
        [
          "fabric",
          "for vip in 9 7; do ip route add 203.0.113.$vip via 192.168.50.11; done",
        ],
      ],
      devices: ["dummy0"],
      paths: ["203.0.113.9", "203.0.113.7"].map((near) => (
        { uplink: "eth0", near, far: "198.51.100.10", seenAs: ["192.168.50.11"] }
      )),
    },
    {
      name: "two NICs of equal cost, one without an address of its own, the InternalIP on lo",
      make: [
        [
          "fabric",
          `ip link add node1b type veth peer name eth1 netns ${node}
           ip address add 169.254.7.1/30 dev node1b
           ip link set node1b up
           ip route add 10.97.0.1 nexthop via 192.168.50.11 nexthop via 169.254.7.2`,
        ],
        [
          "node1",
          `ip address add 10.97.0.1/32 dev lo
           ip link set eth1 up
           ip address add 169.254.7.2/30 dev eth1
           ip route replace default src 10.97.0.1 \\
             nexthop via 192.168.50.1 dev eth0 nexthop via 169.254.7.1 dev eth1
           ip route add 192.168.50.12 dev eth0 src 10.97.0.1`,
        ],
      ],
      devices: ["eth1"],
      internalIPs: ["10.97.0.1", "192.168.50.12"],
      paths: [{
        uplink: "eth1",
        near: "10.97.0.1",
        far: "198.51.100.10",
        seenAs: ["192.168.50.11", "10.97.0.1"],
      }],
    },
    {
      name: "the InternalIP in a VRF",
      make: [
        [
          "node1",
          `ip link add blue type vrf table 88
           ip link set blue up
           ip link set eth0 master blue
           ip route add default via 192.168.50.1 dev eth0 table 88`,
        ],
      ],
      devices: ["blue"],
      paths: [],
      unserved: {
        device: "eth0",
        text: /^eth0 serves NodePorts only: .* in VRF blue/,
        next: /out of the VRF/,
      },
    },
  ];
}
