/** What a network provider may change on a node, line by line, to compare before and after. */
import type { Kit } from "./kit.ts";

/**
 * A command for each subject; what it prints is compared. Not compared: netfilter's chains of the `portmap` plugin,
 * which it makes at its first use and never removes, /var/lib/cni/results, where containerd remembers what the chain has answered,
 * and the empty /run/pcnk: a container cannot remove what is mounted in it.
 */
const COMMANDS: Record<string, string> = {
  link: "ip -o link | sed 's/.*: \\([^:@]*\\)[@:].*mtu \\([0-9]*\\).*/\\1 mtu \\2/'",
  // Link-local addresses follow from MAC addresses, which are others after a boot.
  address: "ip -o addr | awk '{print $2, $3, $4}' | grep -v fe80",
  route: "ip route show table all | grep -v -e '^broadcast' -e fe80",
  rule: "ip rule",
  neighbour: "ip neigh show nud permanent",
  filter: `for d in $(ls /sys/class/net); do
    for h in ingress egress; do tc filter show dev $d $h | sed "s/^/$d $h /"; done
    tc qdisc show dev $d | grep clsact; done`,
  pin: "find /sys/fs/bpf | sort",
  program: "bpftool net 2>/dev/null; bpftool cgroup tree /sys/fs/cgroup/unified 2>/dev/null",
  file:
    "find /etc/cni /opt/cni /etc/pcnk /run/pcnk /var/lib/cni -not -path '/var/lib/cni/results*' -not -path /run/pcnk 2>/dev/null | sort",
  iptables: "iptables-save | grep -v '^[#:]' | grep -v -e CNI- -e KUBE-",
  sysctl: `sysctl -a 2>/dev/null |
    grep -e ^net.ipv4.ip_forward -e ^net.ipv4.conf -e ^net.bridge -e ^net.ipv4.neigh | grep -v -e veth`,
  process: "ps -e -o comm= | grep -e pcnk | sort",
};

/** All lines, each with what it is about. */
export async function snapshot(kit: Kit, node: number): Promise<string[]> {
  const lines: string[] = [];
  for (const [about, command] of Object.entries(COMMANDS)) {
    const { stdout } = await kit.tryInNode(node, ["sh", "-c", command]);
    for (const line of stdout.split("\n")) {
      if (line.trim() !== "") lines.push(`${about}: ${line.trim().replace(/\s+/g, " ")}`);
    }
  }
  return lines.sort();
}

/** What came (`+`) and went (`-`) between two snapshots. */
export function difference(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
  ];
}
