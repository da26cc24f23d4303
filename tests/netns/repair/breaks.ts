/**
 * How each object of the table (src/upkeep/table.ts) is broken, by the tools that people use. Shell commands on the lab's node1.
 * The agent may be faster than a `rm -r`, which then fails.
 */

/** One way to break an object. */
export interface Break {
  /** The row of the table, or `network` for what agent/network/ mends. */
  row: string;
  what: string;
  command: string | (() => boolean);
  /** Succeeds when the object is as it should be. */
  well: string | (() => boolean);
}

/** Names in the commands. */
export interface Names {
  bpffs: string;
  stateDir: string;
  conf: string;
  bin: string;
  /** Host end of pod1-1, and its MAC address in the bridge. */
  veth: string;
  ifindex: number;
  cgroup: string;
}

const DETAIL = (device: string, words: string) =>
  `ip -o -d link show ${device} | grep -q '${words}'`;
const LINK = (device: string, words: string) => `ip -o link show ${device} | grep -q '${words}'`;

/** What the agent mends. */
export function mendable({ bpffs, stateDir, conf, bin, veth }: Names): Break[] {
  const pins = `test $(ls ${bpffs}/map | wc -l) -ge 20 -a -e ${bpffs}/prog/lbrp_from_pod`;
  const filter = `tc filter show dev ${veth} ingress | grep -q pcnk_`;
  const address = `ip -o -4 addr show pcnk0 | head -1 | grep -q 10.244.1.1/24`;
  return [
    {
      row: "pins",
      what: "rm -r maps, programs, links",
      command: `cd ${bpffs}; rm -r map prog link; true`,
      well: pins,
    },
    { row: "pins", what: "mount a bpffs above", command: `mount -t bpf bpf ${bpffs}`, well: pins },
    {
      row: "pins",
      what: "umount -l all",
      command: `umount -l ${bpffs}; umount -l ${bpffs}`,
      well: pins,
    },
    {
      row: "pins",
      what: "mount -o remount,ro",
      command: `mount -o remount,ro ${bpffs}`,
      well: `mkdir ${bpffs}/try && rmdir ${bpffs}/try`,
    },
    {
      row: "bridge",
      what: "ip link del pcnk0",
      command: "ip link del pcnk0",
      well: `${address} && ${LINK(veth, "master pcnk0")}`,
    },
    {
      row: "bridge",
      what: "ip link set pcnk0 name",
      command: "ip link set pcnk0 down; ip link set pcnk0 name br9",
      well: `${address} && ${LINK(veth, "master pcnk0")} && ! ip link show br9`,
    },
    {
      row: "bridge",
      what: "ip link set pcnk0 down",
      command: "ip link set pcnk0 down",
      well: LINK("pcnk0", ",UP"),
    },
    {
      row: "bridge",
      what: "its address deleted",
      command: "ip addr del 10.244.1.1/24 dev pcnk0",
      well: address,
    },
    {
      row: "bridge",
      what: "another address instead",
      command: "ip addr flush dev pcnk0; ip addr add 10.99.0.1/16 dev pcnk0",
      well: address,
    },
    {
      row: "bridge",
      what: "another MAC address",
      command: "ip link set pcnk0 address 02:00:00:00:00:99",
      well: "! ip link show pcnk0 | grep -q 02:00:00:00:00:99",
    },
    {
      row: "bridge",
      what: "stp_state 1",
      command: "ip link set pcnk0 type bridge stp_state 1",
      well: `${DETAIL("pcnk0", "stp_state 0")} && ${DETAIL(veth, "state forwarding")}`,
    },
    {
      row: "bridge",
      what: "vlan_filtering 1, without a VLAN",
      command:
        `ip link set pcnk0 type bridge vlan_filtering 1; bridge vlan del vid 1 dev ${veth}; true`,
      well: DETAIL("pcnk0", "vlan_filtering 0"),
    },
    {
      row: "bridge",
      what: "arp off",
      command: "ip link set pcnk0 arp off",
      well: `! ${LINK("pcnk0", "NOARP")}`,
    },
    {
      row: "bridge",
      what: "mtu 1000",
      command: "ip link set pcnk0 mtu 1000",
      well: `! ${LINK("pcnk0", "mtu 1000")}`,
    },
    {
      row: "segment",
      what: "bridge link set isolated off, flood on",
      command: `bridge link set dev ${veth} isolated off learning on flood on bcast_flood off`,
      well: DETAIL(veth, "learning off.*flood off.*bcast_flood on.*isolated on"),
    },
    {
      row: "segment",
      what: "bridge fdb del",
      command:
        `bridge fdb del $(bridge fdb show br pcnk0 | grep "dev ${veth}.*sticky" | cut -d" " -f1) ` +
        `dev ${veth} master`,
      well: `bridge fdb show br pcnk0 | grep -q "dev ${veth}.*sticky"`,
    },
    {
      row: "ports",
      what: "bridge link set state 0",
      command: `bridge link set dev ${veth} state 0`,
      well: DETAIL(veth, "state forwarding"),
    },
    {
      row: "ports",
      what: "ip link set VETH mtu 1000",
      command: `ip link set ${veth} mtu 1000`,
      well: `! ${LINK(veth, "mtu 1000")}`,
    },
    {
      row: "ports",
      what: "ip link set VETH nomaster",
      command: `ip link set ${veth} nomaster`,
      well: LINK(veth, ",UP.*master pcnk0"),
    },
    {
      row: "ports",
      what: "ip link set VETH name",
      command: `ip link set ${veth} down; ip link set ${veth} name other0`,
      well: LINK(veth, ",UP.*master pcnk0"),
    },
    {
      row: "ports",
      what: "ip link set VETH down",
      command: `ip link set ${veth} down`,
      well: LINK(veth, ",UP"),
    },
    {
      row: "pod programs",
      what: "tc filter del",
      command: `tc filter del dev ${veth} ingress`,
      well: filter,
    },
    {
      row: "pod programs",
      what: "tc qdisc del clsact",
      command: `tc qdisc del dev ${veth} clsact`,
      well: filter,
    },
    {
      row: "uplink programs",
      what: "tc qdisc del on the uplink",
      command: "tc qdisc del dev eth0 clsact",
      well: "tc filter show dev eth0 egress | grep -q pcnk_",
    },
    {
      row: "hostlb",
      what: "its links' pins removed",
      command: `rm ${bpffs}/link/cgroup-*`,
      well: `test -e ${bpffs}/link/cgroup-connect4`,
    },
    {
      row: "loopback",
      what: "ip link set lo down",
      command: "ip link set lo down",
      well: LINK("lo", ",UP"),
    },
    {
      row: "sysctls",
      what: "ip_forward=0",
      command: "sysctl -qw net.ipv4.ip_forward=0",
      well: "test $(cat /proc/sys/net/ipv4/ip_forward) = 1",
    },
    {
      row: "sysctls",
      what: "conf.all.forwarding=0",
      command: "sysctl -qw net.ipv4.conf.all.forwarding=0",
      well: "test $(cat /proc/sys/net/ipv4/conf/pcnk_vxlan/forwarding) = 1",
    },
    {
      row: "sysctls",
      what: "forwarding=0 on the bridge",
      command: "sysctl -qw net.ipv4.conf.pcnk0.forwarding=0",
      well: "test $(cat /proc/sys/net/ipv4/conf/pcnk0/forwarding) = 1",
    },
    {
      row: "sysctls",
      what: "rp_filter=1 on the overlay",
      command: "sysctl -qw net.ipv4.conf.pcnk_vxlan.rp_filter=1",
      well: "test $(cat /proc/sys/net/ipv4/conf/pcnk_vxlan/rp_filter) != 1",
    },
    {
      row: "routes",
      what: "ip_local_port_range=1024 65535",
      command: "sysctl -qw net.ipv4.ip_local_port_range='1024 65535'",
      well: "grep -q 32767 /proc/sys/net/ipv4/ip_local_reserved_ports",
    },
    {
      row: "routes",
      what: "ip link del pcnk_vxlan",
      command: "ip link del pcnk_vxlan",
      well: "ip route | grep -q '10.244.2.0/24.*pcnk_vxlan'",
    },
    {
      row: "routes",
      what: "ip link set pcnk_vxlan mtu, address, master",
      command:
        "ip link set pcnk_vxlan mtu 1000 address 02:00:00:00:00:98; ip link set pcnk_vxlan master pcnk0",
      well:
        `! ip link show pcnk_vxlan | grep -qE "mtu 1000|00:00:00:98|master" && ip route | grep -q 10.244.2.0/24`,
    },
    {
      row: "routes",
      what: "ip link set pcnk_vxlan down",
      command: "ip link set pcnk_vxlan down",
      well: "ip route | grep -q '10.244.2.0/24.*pcnk_vxlan'",
    },
    {
      row: "routes",
      what: "ip route flush proto 112",
      command: "ip route flush proto 112",
      well: "ip route | grep -q 10.244.2.0/24",
    },
    {
      row: "routes",
      what: "ip neigh flush",
      command: "ip neigh flush dev pcnk_vxlan nud permanent",
      well: "ip neigh show dev pcnk_vxlan nud permanent | grep -q .",
    },
    {
      row: "records",
      what: "the state directory emptied",
      command: `rm -r ${stateDir}/attachments ${stateDir}/*.json ${stateDir}/lock; true`,
      well:
        `ls ${stateDir}/attachments 2>/dev/null | wc -l | grep -q 3 && test -e ${stateDir}/agent.json`,
    },
    {
      row: "records",
      what: "each file emptied in place",
      command:
        `for file in ${stateDir}/attachments/*; do : > $file; done; : > ${stateDir}/agent.json`,
      well:
        `grep -c hostIfname ${stateDir}/attachments/* | grep -c ':1' | grep -q 3 && test -s ${stateDir}/agent.json`,
    },
    {
      row: "addresses",
      what: "rm -r host-local's store",
      command: `rm -r ${stateDir}/ipam; true`,
      well: `grep -q eth0 ${stateDir}/ipam/pcnk/10.244.1.2 2>/dev/null`,
    },
    {
      row: "configuration",
      what: "rm 10-pcnk.conflist",
      command: `rm ${conf}/10-pcnk.conflist`,
      well: `test -e ${conf}/10-pcnk.conflist`,
    },
    {
      row: "configuration",
      what: "cut off in the middle",
      command: `truncate -s 20 ${conf}/10-pcnk.conflist`,
      well: `grep -q host-local ${conf}/10-pcnk.conflist`,
    },
    { row: "plugins", what: "rm pcnk", command: `rm ${bin}/pcnk`, well: `test -x ${bin}/pcnk` },
    {
      row: "pins, bridge",
      what: "rm -r, ip link del pcnk0",
      command: `rm -r ${bpffs}/prog ${bpffs}/map; ip link del pcnk0`,
      well: `${pins} && ${address} && ${LINK(veth, "master pcnk0")}`,
    },
    {
      row: "plugins",
      what: "rm bridge",
      command: `rm ${bin}/bridge`,
      well: `test -x ${bin}/bridge`,
    },
  ];
}
