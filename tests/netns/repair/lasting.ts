/** What only a person mends: how it is broken and put right, and the words of `pcnk status` and /readyz. */
import type { Names } from "./breaks.ts";

interface Lasting {
  what: string;
  command: string;
  told: RegExp;
  undo: string;
  /** `pcnk status` reads another state directory then. */
  ofAgent?: true;
}

const HANG = "import fcntl,sys,time; f=open(sys.argv[1]); fcntl.flock(f, 2); time.sleep(60)";
/** The agent may be faster and have made the device again. */
const REPLACE = (name: string, kind: string) =>
  `for i in 1 2 3 4 5 6 7 8 9; do printf 'link del ${name}\\nlink add ${name} type ${kind}\\n' | ip -batch - && break; done`;

export function lasting({ conf, bin, stateDir, bpffs, veth }: Names): Lasting[] {
  const other = `${conf}/00-other.conflist`;
  return [
    {
      what: "another network's file first",
      command: `echo '{"name":"other","plugins":[{"type":"loopback"}]}' > ${other}`,
      told: /00-other\.conflist in \S+ sorts before 10-pcnk\.conflist/,
      undo: `rm ${other}`,
    },
    {
      what: "a directory instead of the conflist",
      command: `rm ${conf}/10-pcnk.conflist; mkdir ${conf}/10-pcnk.conflist`,
      told: /10-pcnk\.conflist (is not there: no pod can be added|.*[Ii]s a directory)/,
      undo: `rmdir ${conf}/10-pcnk.conflist`,
    },
    {
      what: "the plugins' folder is no folder",
      command: `rm -r ${bin}; touch ${bin}`,
      told: /the CNI plugin \S+\/pcnk is not there or not executable: no pod can be added/,
      undo: `rm ${bin}; mkdir ${bin}`,
    },
    {
      what: "no bpffs, and a file in its place",
      command: `while umount -l ${bpffs} 2>/dev/null; do :; done; touch ${bpffs}/file`,
      told: /is no bpffs any more: no pod can be added/,
      undo: `rm ${bpffs}/file`,
    },
    {
      what: "the state directory hidden by one that is read-only",
      command: `mount -t tmpfs -o ro none ${stateDir}`,
      told: /[Rr]ead-only|EROFS/, // the bpffs is below it
      undo: `umount ${stateDir}`,
      ofAgent: true,
    },
    {
      what: "a CNI call that hangs, and a device that is down",
      command: `python3 -c '${HANG}' ${stateDir}/lock </dev/null >/dev/null 2>&1 & ` +
        `echo $! > ${stateDir}/hangs; sleep 0.3; ip link set ${veth} down`,
      told: /is down/,
      undo: `kill $(cat ${stateDir}/hangs)`,
    },
    {
      what: "another kind of device with the bridge's name",
      command: REPLACE("pcnk0", "ifb"),
      told: /pcnk0 is no bridge but a ifb: no pod can be added/,
      undo: "ip link del pcnk0",
    },
    {
      what: "another kind of device with the overlay's name",
      command: REPLACE("pcnk_vxlan", "ifb"),
      told: /pcnk_vxlan is no VXLAN device but a ifb/,
      undo: "ip link del pcnk_vxlan",
    },
    {
      what: "the uplink down",
      command: "ip link set eth0 down",
      told: /eth0( is down|\): no other node)/,
      undo: "ip link set eth0 up; ip route replace default via 192.168.50.1",
    },
    {
      what: "the default route deleted",
      command: "ip route del default",
      told: /the default route is gone/,
      undo: "ip route add default via 192.168.50.1",
    },
    {
      what: "the node's address deleted",
      command: "ip addr del 192.168.50.11/24 dev eth0",
      told: /the node's address 192\.168\.50\.11 is on no device|the default route is gone/,
      undo: "ip addr add 192.168.50.11/24 dev eth0; ip route replace default via 192.168.50.1",
    },
    {
      what: "no replies to ARP",
      command: "sysctl -qw net.ipv4.conf.all.arp_ignore=8",
      told: /net.ipv4.conf.all.arp_ignore is 8: pods do not find their gateway/,
      undo: "sysctl -qw net.ipv4.conf.all.arp_ignore=0",
    },
    {
      what: "ip rule del lookup main",
      command: "ip rule del pref 32766",
      told: /the node's packets to \S+ find no route/,
      undo: "ip rule add pref 32766 lookup main",
    },
    {
      what: "a more specific route of another program",
      command: "ip route add 10.244.2.0/25 dev eth0",
      told: /the node's packets to 10\.244\.2\.0 leave by eth0/,
      undo: "ip route del 10.244.2.0/25",
    },
  ];
}
