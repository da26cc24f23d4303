import assert from "node:assert/strict";
import type { Link, Route } from "../../linux/rtnetlink.ts";
import type { Address } from "../../linux/rtnl_addr.ts";
import { findDevices, masqueradeAddress } from "./uplinks.ts";

/** A device with an address: `eth0 192.0.2.2/24`; kind, master, and so on as they differ from a NIC's. */
type Spec = [text: string, link?: Partial<Link>];

/** A node with lo (index 1) and these devices (from 2), and routes as `destination device metric table`. */
function node(specs: Spec[], routes: string[], more: Address[] = []) {
  const lo: Spec = ["lo 127.0.0.1/8", { loopback: true, type: 772 }];
  const links = [lo, ...specs].map(([text, link], i): Link => ({
    ...{ index: i + 1, name: text.split(" ")[0]!, mac: "", mtu: 1500, type: 1 },
    ...{ up: true, running: true, loopback: false },
    ...link,
  }));
  const index = (name: string) => links.find((link) => link.name === name)!.index;
  const addresses = [lo, ...specs].flatMap(([text]): Address[] => {
    const [name = "", network] = text.split(" ");
    if (network === undefined) return [];
    const [address = "", length] = network.split("/");
    return [{ ifindex: index(name), address, prefixLength: Number(length), scope: 0 }];
  });
  return {
    links: () => links,
    addrs: () => [...addresses, ...more],
    routes: (): Route[] =>
      routes.map((text) => {
        const [destination = "", names = "", metric, table] = text.split(" ");
        const [ifindex, ...rest] = names.split("+").map(index);
        const via = rest.length > 0 ? { multipath: [ifindex!, ...rest] } : { ifindex };
        const known = { destination, metric: Number(metric ?? 0), table: Number(table ?? 254) };
        return { ...known, ...via } as Route;
      }),
  };
}

const names = (...args: Parameters<typeof findDevices>) =>
  findDevices(...args).uplinks.map(({ name }) => name);

const eth0: Spec = ["eth0 192.0.2.2/24"];
const eth1: Spec = ["eth1 198.51.100.3/24"];
const toEth0 = "0.0.0.0/0 eth0 100";

Deno.test("findDevices() takes the devices of all default routes, the best one's first", () => {
  const nl = node([eth0, eth1], ["0.0.0.0/0 eth0 600", "0.0.0.0/0 eth1 100"]);
  assert.deepEqual(findDevices(nl, {}).uplinks, [
    {
      ifindex: 3,
      name: "eth1",
      mtu: 1500,
      addresses: [{ address: "198.51.100.3", prefixLength: 24 }],
    },
    {
      ifindex: 2,
      name: "eth0",
      mtu: 1500,
      addresses: [{ address: "192.0.2.2", prefixLength: 24 }],
    },
  ]);
});

/** Each case: devices, routes, the uplinks in their order. */
const cases: Record<string, [specs: Spec[], routes: string[], uplinks: string[]]> = {
  "a second NIC without a default route": [[eth0, eth1], [toEth0], ["eth0", "eth1"]],
  "no NIC without an address": [[eth0, ["eth1"]], [toEth0], ["eth0"]],
  "a NIC with addresses of its own link only": [
    [eth0, ["eth1 169.254.7.1/16"]],
    [toEth0],
    ["eth0"],
  ],
  "a default route of another table": [
    [eth0, ["tun0 10.8.0.2/32", { kind: "tun", type: 65534 }]],
    [toEth0, "0.0.0.0/0 tun0 0 51820"],
    ["eth0", "tun0"],
  ],
  "a default route in two halves": [
    [eth0, ["tun0 10.8.0.2/24", { kind: "tun", type: 65534 }]],
    [toEth0, "0.0.0.0/1 tun0", "128.0.0.0/1 tun0"],
    ["tun0", "eth0"],
  ],
  "GRE and IPv6 tunnels to one other end": [
    [
      eth0,
      ["gre1 10.8.0.1/30", { kind: "gre", type: 778, pointToPoint: true }],
      ["gre2 10.8.0.5/30", { kind: "gre", type: 778 }],
      ["six1 10.8.0.9/30", { kind: "ip6tnl", type: 769 }],
    ],
    [toEth0, "0.0.0.0/0 gre1 0 77", "0.0.0.0/0 gre2 0 78", "0.0.0.0/0 six1 0 79"],
    ["eth0", "gre1", "six1"],
  ],
  "all devices of a multipath route": [
    [["eth0"], ["eth1"]],
    ["0.0.0.0/0 eth0+eth1"],
    ["eth0", "eth1"],
  ],
  "a device of a VRF, not the VRF": [
    [eth0, ["eth1 198.51.100.3/24", { master: 4 }], ["blue 203.0.113.1/24", { kind: "vrf" }]],
    [toEth0, "0.0.0.0/0 eth1 0 10"],
    ["eth0", "eth1"],
  ],
  "a bond, not its ports": [
    [["bond0 192.0.2.2/24", { kind: "bond" }], ["eth0", { master: 2 }], ["eth1", { master: 2 }]],
    [],
    ["bond0"],
  ],
  "a VLAN, not its parent without an address": [
    [["eth0"], ["eth0.7 192.0.2.2/24", { kind: "vlan", peerIndex: 2 }]],
    [],
    ["eth0.7"],
  ],
  "a macvlan and the device that carries it": [
    [["eth0"], ["mv0 198.51.100.1/24", { kind: "macvlan", peerIndex: 2 }]],
    [],
    ["mv0", "eth0"],
  ],
  "an ipvlan and the device that carries it": [
    [["eth0"], ["ipv0 192.0.2.2/24", { kind: "ipvlan", peerIndex: 2 }]],
    ["0.0.0.0/0 ipv0"],
    ["ipv0", "eth0"],
  ],
  "a macvlan whose other device is in the host's namespace": [
    [["eth1"], ["mv0 198.51.100.1/24", { kind: "macvlan", peerIndex: 2, peerNetnsId: 0 }]],
    [],
    ["mv0"],
  ],
  "the bridge of a KVM host, not its ports": [
    [
      ["br0 192.0.2.2/24", { kind: "bridge" }],
      ["eth0", { master: 2 }],
      ["vnet0", { master: 2, kind: "tun" }],
    ],
    [],
    ["br0"],
  ],
  "no bridge of containers or VMs, and none of their devices": [
    [
      eth0,
      ["docker0 172.17.0.1/16", { kind: "bridge" }],
      ["veth1", { kind: "veth", master: 3 }],
      ["virbr0 192.168.122.1/24", { kind: "bridge" }],
      ["vnet0", { kind: "tun", master: 5 }],
      ["pcnk0 10.244.1.1/24", { kind: "bridge" }],
    ],
    [toEth0],
    ["eth0"],
  ],
  "a veth that is the NIC of a container, none that leads to a pod": [
    [
      ["eth0 192.0.2.2/24", { kind: "veth" }],
      ["eth1 198.51.100.3/24", { kind: "veth" }],
      ["veth1 10.244.1.1/32", { kind: "veth" }],
      ["veth2 10.244.1.1/24", { kind: "veth" }],
      ["veth3 172.31.0.1/32", { kind: "veth" }],
    ],
    [toEth0],
    ["eth0", "eth1"],
  ],
  "no dummy, overlay or tunnel without a default route": [
    [
      eth0,
      ["dummy0 203.0.113.7/32", { kind: "dummy" }],
      ["kube-ipvs0 10.96.0.1/32", { kind: "dummy" }],
      ["flannel.1 10.244.1.0/32", { kind: "vxlan" }],
      ["wg0 10.8.0.1/24", { kind: "wireguard", type: 65534 }],
      ["tunl0 10.9.0.1/24", { kind: "ipip", type: 768 }],
    ],
    [toEth0],
    ["eth0"],
  ],
};

for (const [title, [specs, routes, uplinks]] of Object.entries(cases)) {
  Deno.test(`findDevices() takes ${title}`, () => {
    const own = { bridge: "pcnk0", overlay: "pcnk_vxlan" };
    assert.deepEqual(
      names(node(specs, routes), { podCIDRs: ["10.244.1.0/24", "nonsense"], ...own }),
      uplinks,
    );
  });
}

Deno.test("findDevices() takes the device with the node's InternalIP, once, whatever it is", () => {
  const wg0: Spec = ["wg0 10.8.0.1/24", { kind: "wireguard", type: 65534 }];
  const nl = node([eth0, wg0], [toEth0, "0.0.0.0/0 eth0 50"]);
  assert.deepEqual(names(nl, { internalIPs: ["10.8.0.1"] }), ["eth0", "wg0"]);
  assert.deepEqual(names(nl, { internalIPs: ["192.0.2.2"] }), ["eth0"]);
});

Deno.test("findDevices() takes those that are named, by name or pattern, and says which are not there", () => {
  const nl = node([eth0, eth1, ["wan.0 203.0.113.1/24"]], [toEth0]);
  assert.deepEqual(names(nl, { names: ["eth1"], internalIPs: ["192.0.2.2"] }), ["eth1"]);
  assert.deepEqual(names(nl, { names: ["wan.?", "eth*", "eth0"] }), ["wan.0", "eth0", "eth1"]);
  assert.deepEqual(names(nl, { names: ["wan*0", "wanx0", "et?"] }), ["wan.0"]);
  assert.deepEqual(names(nl, { names: ["*"] }), ["eth0", "eth1", "wan.0"]);
  const { uplinks, missing } = findDevices(nl, { names: ["eth7", "eth0", "enp*"] });
  assert.deepEqual([uplinks.length, missing], [1, ["eth7", "enp*"]]);
});

Deno.test("findDevices() says of each device why it is an uplink, or why not", () => {
  const specs: Spec[] = [
    eth0,
    eth1,
    ["docker0 172.17.0.1/16", { kind: "bridge" }],
    ["wg0 10.8.0.1/24", { kind: "wireguard", type: 65534 }],
    ["ib0 10.9.0.1/24", { type: 32 }],
    ["silent"],
    ["blue", { kind: "vrf" }],
    ["eth2 203.0.113.2/24", { master: 8 }],
    ["eth3 203.0.113.3/24", { master: 8 }],
  ];
  const internalIPs = ["203.0.113.3"];
  const { choices } = findDevices(node(specs, [toEth0, "0.0.0.0/0 ib0 200"]), { internalIPs });
  const inVrf =
    ", in VRF blue: pods' packets and tunnels leave there only by routes of the main table";
  assert.deepEqual(
    choices.map(({ link, uplink, why, unserved }) =>
      [link.name, uplink, why, unserved ?? false].join(": ")
    ),
    [
      "eth0: true: has a default route: false",
      "ib0: false: has a default route, but its frames begin with a header that pcnk cannot read (type 32): true",
      `eth3: true: has the node's InternalIP${inVrf}: true`,
      "eth1: true: a NIC with an address: false",
      `eth2: true: a NIC with an address${inVrf}: false`,
      "docker0: false: a bridge without a NIC: false",
      "wg0: false: a wireguard device without a default route: false",
    ],
  );
});

Deno.test("findDevices() takes GRE over IPv6 from Linux 5.14 on, and says so before", () => {
  const gre: Spec = ["six1 10.8.0.1/30", { kind: "ip6gre", type: 823, pointToPoint: true }];
  const nl = node([eth0, gre], [toEth0, "0.0.0.0/0 six1 0 79"]);
  assert.deepEqual(names(nl, { release: "5.14.0" }), ["eth0", "six1"]);
  const { uplinks, choices } = findDevices(nl, { release: "5.10.0-32-amd64" });
  assert.deepEqual(uplinks.map(({ name }) => name), ["eth0"]);
  assert.match(choices[1]!.why, /^has a default route, but GRE over IPv6 needs Linux 5\.14; .*823/);
  assert.equal(choices[1]!.unserved, true);
});

Deno.test("findDevices() knows every address of the node: VIPs on lo and dummies, none of IPVS, no 127.0.0.1", () => {
  const more = [
    { ifindex: 1, address: "203.0.113.9", prefixLength: 32, scope: 0 },
    { ifindex: 2, address: "169.254.0.1", prefixLength: 16, scope: 253 },
  ];
  const specs: Spec[] = [
    eth0,
    ["dummy0 203.0.113.7/32", { kind: "dummy" }],
    ["kube-ipvs0 10.96.0.1/32", { kind: "dummy" }],
    ["pcnk0 10.244.1.1/24", { kind: "bridge" }],
  ];
  const { addresses } = findDevices(node(specs, [toEth0], more), {});
  assert.deepEqual(
    addresses,
    ["192.0.2.2", "203.0.113.7", "10.244.1.1", "203.0.113.9", "169.254.0.1"],
  );
});

Deno.test("masqueradeAddress() is the InternalIP where the uplink has it, else its own first", () => {
  const uplink = (...addresses: string[]) => ({
    ifindex: 2,
    name: "eth0",
    mtu: 1500,
    addresses: addresses.map((address) => ({ address, prefixLength: 24 })),
  });
  const internal = ["192.0.2.9"];
  assert.equal(masqueradeAddress(uplink("192.0.2.2", "192.0.2.9"), internal), "192.0.2.9");
  assert.equal(masqueradeAddress(uplink("192.0.2.2", "192.0.2.3"), internal), "192.0.2.2");
  assert.equal(masqueradeAddress(uplink(), internal), "192.0.2.9");
  assert.equal(masqueradeAddress(uplink(), []), "0.0.0.0");
});
