/**
 * What `pcnk status` finds in rules that other programs write, loaded by those programs into a network namespace without
 * traffic; netfilter_test.ts has the traffic.
 */
import assert from "node:assert/strict";
import { withNetns } from "../../src/linux/netns.ts";
import { addresses, type Device, PROTOCOL } from "../../src/netfilter/packet.ts";
import type { Finding } from "../../src/view/finding.ts";
import { readFindings } from "../../src/view/netfilter.ts";
import type { NodeNetwork } from "../../src/view/netfilter_flows.ts";
import { file, root } from "../support/needs.ts";
import { Sandbox, type TestNetns } from "../support/sandbox.ts";

/** Rules, and what is found: `warn` or `note`, and the text. */
type Case = [name: string, shell: string, ...found: RegExp[]];

const forwardPolicy = /^note ip filter FORWARD \(policy drop\) drops.* no uplinks/;

/** Rule sets of healthy nodes. */
const HEALTHY: Case[] = [
  ["no rules", ":"],
  [
    "Docker",
    `iptables -P FORWARD DROP
    for chain in DOCKER DOCKER-USER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2; do iptables -N $chain; done
    iptables -A FORWARD -j DOCKER-USER; iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
    iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A FORWARD -o docker0 -j DOCKER
    iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT; iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
    iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
    iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN
    iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP; iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN
    iptables -A DOCKER-USER -j RETURN
    iptables -A DOCKER -d 172.17.0.2 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT
    iptables -A DOCKER ! -i docker0 -o docker0 -j DROP
    iptables -t raw -A PREROUTING -d 172.17.0.2 ! -i docker0 -j DROP
    iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j DNAT --to 172.17.0.2:80
    iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE`,
    /^note ip filter FORWARD \(policy drop\) drops, where no rule ahead of it accepts them, .*no uplinks/,
  ],
  [
    "kube-proxy of before",
    `for chain in KUBE-FIREWALL KUBE-FORWARD KUBE-PROXY-FIREWALL KUBE-EXTERNAL; do iptables -N $chain; done
    iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment "load balancer firewall" -j KUBE-PROXY-FIREWALL
    iptables -A INPUT -j KUBE-FIREWALL; iptables -A OUTPUT -j KUBE-FIREWALL
    iptables -A FORWARD -m comment --comment "forwarding rules" -j KUBE-FORWARD
    iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    iptables -A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
    iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
    iptables -t nat -N KUBE-MARK-MASQ; iptables -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
    iptables -t nat -N KUBE-POSTROUTING; iptables -t nat -A POSTROUTING -j KUBE-POSTROUTING
    iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    iptables -t nat -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000; iptables -t nat -A KUBE-POSTROUTING -j MASQUERADE`,
  ],
  [
    "firewalld, where pcnk0 is trusted and the tunnel's port open",
    `nft -f - <<'END'
    table inet firewalld {
      chain mangle_PREROUTING { type filter hook prerouting priority -140; meta nfproto ipv6 fib saddr . mark . iif oif missing drop; }
      chain filter_INPUT {
        type filter hook input priority 10
        ct state { established, related } accept; ct status dnat accept; iifname "lo" accept; ct state invalid drop
        jump filter_INPUT_ZONES; reject with icmpx admin-prohibited
      }
      chain filter_FORWARD {
        type filter hook forward priority 10
        ct state { established, related } accept; ct status dnat accept; iifname "lo" accept; ct state invalid drop
        ip6 daddr { ::/96, 2002::/24 } reject
        jump filter_FORWARD_ZONES; reject with icmpx admin-prohibited
      }
      chain filter_OUTPUT { type filter hook output priority 10; ct state { established, related } accept; oifname "lo" accept; }
      chain trusted { accept; }
      chain public { tcp dport 22 accept; udp dport 8472 accept; tcp dport 6443 accept; meta l4proto { icmp, ipv6-icmp } accept; }
      chain filter_INPUT_ZONES { iifname vmap { "pcnk0" : goto trusted, "pcnk_vxlan" : goto trusted, "eth0" : goto public }; goto public; }
      chain filter_FORWARD_ZONES { iifname "pcnk0" goto trusted; goto public; }
    }
END`,
  ],
  [
    "ufw that lets pods and the tunnel in",
    `for chain in ufw-before-input ufw-not-local ufw-user-input ufw-after-input ufw-logging-deny ufw-before-forward; do iptables -N $chain; done
    iptables -P INPUT DROP
    iptables -A INPUT -j ufw-before-input; iptables -A INPUT -j ufw-after-input; iptables -A FORWARD -j ufw-before-forward
    iptables -A ufw-before-input -i lo -j ACCEPT
    iptables -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny
    iptables -A ufw-before-input -m conntrack --ctstate INVALID -j DROP
    iptables -A ufw-before-input -p icmp --icmp-type echo-request -j ACCEPT
    iptables -A ufw-before-input -p udp --sport 67 --dport 68 -j ACCEPT
    iptables -A ufw-before-input -j ufw-not-local; iptables -A ufw-before-input -j ufw-user-input
    iptables -A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
    iptables -A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
    iptables -A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny
    iptables -A ufw-not-local -j DROP
    iptables -A ufw-user-input -i pcnk0 -j ACCEPT; iptables -A ufw-user-input -p udp --dport 8472 -j ACCEPT
    iptables -A ufw-user-input -p tcp -m multiport --dports 22,6443 -j ACCEPT
    iptables -A ufw-after-input -p udp --dport 137 -j DROP`,
  ],
  [
    "guards of ssh, and lists of addresses",
    `iptables -N f2b-sshd; iptables -A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
    iptables -A f2b-sshd -s 203.0.113.9 -j REJECT; iptables -A f2b-sshd -j RETURN
    iptables -A INPUT -p tcp --dport 22 -m connlimit --connlimit-above 20 -j REJECT
    iptables -A FORWARD -d 203.0.113.0/24 -j DROP; iptables -A OUTPUT -d 203.0.113.0/24 -j DROP
    iptables -A INPUT -p tcp --tcp-flags ALL NONE -j DROP; iptables -A INPUT -p tcp ! --syn -m conntrack --ctstate NEW -j DROP
    nft -f - <<'END'
    table inet lists {
      set bad { type ipv4_addr; flags interval; elements = { 203.0.113.0/24, 198.51.100.7 } }
      chain in { type filter hook input priority -5; ip saddr @bad drop; }
      chain pre { type filter hook prerouting priority -300; ip saddr @bad drop; iifname "eth0" ip saddr 127.0.0.0/8 drop; }
    }
END`,
  ],
  [
    "what programs redirect passes by the uplink's egress",
    `nft 'table netdev t { chain c { type filter hook egress device "eth0" priority 0; ip saddr 10.244.0.0/16 drop; }; }'`,
  ],
  [
    "a dormant table, and chains of other devices and protocols",
    `nft -f - <<'END'
    table ip off { flags dormant; chain in { type filter hook input priority 0; policy drop; }; }
    table ip6 six { chain in { type filter hook input priority 0; policy drop; }; }
    table netdev other { chain in { type filter hook ingress device "veth9" priority 0; policy drop; }; }
END`,
  ],
];

const tunnel = "the overlay's tunnel", own = "own addresses", probes = "kubelet's probes";

/** Rule sets that hit pods. */
const HITTING: Case[] = [
  ["FORWARD's policy", "iptables -P FORWARD DROP", forwardPolicy],
  [
    "a pod network in FORWARD",
    "iptables -A FORWARD -s 10.244.1.0/24 -j DROP",
    /^note ip filter FORWARD handle \d+ drops pods' packets to devices that are no uplinks/,
  ],
  [
    "the pods' device in INPUT",
    "iptables -I INPUT -i pcnk0 -j REJECT",
    new RegExp(
      `^warn ip filter INPUT handle \\d+ drops .*${probes}.*endpoint 192.0.2.1:6443.*${own}`,
    ),
  ],
  [
    "the pods' network in OUTPUT, TCP",
    "iptables -I OUTPUT -d 10.244.0.0/16 -p tcp -j DROP",
    new RegExp(`^warn ip filter OUTPUT handle \\d+ drops .*${probes}\\) \\(TCP\\)`),
  ],
  [
    "the tunnel in raw",
    "iptables -t raw -A PREROUTING -p udp --dport 8472 -j DROP",
    new RegExp(`^warn ip raw PREROUTING handle \\d+ drops ${tunnel}[^;]*$`),
  ],
  [
    "the tunnel from one peer in mangle",
    "iptables -t mangle -A POSTROUTING -o eth0 -d 192.0.2.3 -p udp -j DROP",
    new RegExp(`^note ip mangle POSTROUTING handle \\d+ may drop ${tunnel}`),
  ],
  [
    "one pod, in a chain of its own",
    "iptables -N quarantine; iptables -A INPUT -i pcnk0 -j quarantine; iptables -A quarantine -s 10.244.1.7 -j DROP",
    /^note ip filter quarantine handle \d+ may drop /,
  ],
  [
    "a rate on the pods' device",
    "iptables -A INPUT -i pcnk0 -m hashlimit --hashlimit-above 10/sec --hashlimit-name pods -j DROP",
    /^note ip filter INPUT handle \d+ may drop /,
  ],
  [
    "INVALID ahead of conntrack",
    `nft 'table inet t { chain c { type filter hook prerouting priority -300; ct state invalid drop; }; }'`,
    new RegExp(`^warn inet t c handle \\d+ drops .*${tunnel}`),
  ],
  [
    "not tracked, then INVALID or untracked dropped",
    `iptables -t raw -A PREROUTING -p udp --dport 8472 -j NOTRACK
    iptables -A INPUT -m conntrack --ctstate INVALID,UNTRACKED -j DROP`,
    new RegExp(`^warn ip filter INPUT handle \\d+ drops ${tunnel}[^;]*$`),
  ],
  [
    "a mark of one table that another drops",
    `iptables -t mangle -A PREROUTING -i pcnk0 -p udp -j MARK --set-xmark 0x8000/0x8000
    iptables -A INPUT -m mark --mark 0x8000/0x8000 -j DROP`,
    /^warn ip filter INPUT handle \d+ drops .*\(UDP\)/,
  ],
  [
    "sets and maps",
    `nft -f - <<'END'
    table inet t {
      set ports { type inet_service; flags interval; elements = { 8000-9000 } }
      map verdicts { type inet_proto . inet_service : verdict; elements = { tcp . 6443 : drop } }
      chain in { type filter hook input priority 0; udp dport @ports drop; meta l4proto . th dport vmap @verdicts; }
    }
END`,
    new RegExp(`^warn inet t in handle \\d+ drops ${tunnel}`),
    /^warn inet t in handle \d+ drops .*endpoint 192.0.2.1:6443/,
  ],
  [
    "a set that has a pod",
    `nft 'table ip t { set bad { type ipv4_addr; flags interval; elements = { 10.244.0.0/16 }; }; chain c { type filter hook input priority 0; ip saddr @bad drop; }; }'`,
    /^note ip t c handle \d+ may drop /,
  ],
  [
    "everything but ssh",
    `nft 'table inet t { chain c { type filter hook input priority 0; policy drop; ct state established accept; iif lo accept; tcp dport 22 accept; }; }'`,
    new RegExp(
      `^warn inet t c \\(policy drop\\) drops .*6443.*${tunnel}.*where no rule ahead of it accepts them, .*${own}`,
    ),
  ],
  [
    "a chain of the uplink",
    `nft 'table netdev t { chain c { type filter hook ingress device "eth0" priority 0; udp dport 8472 drop; }; }'`,
    new RegExp(`^warn netdev t c handle \\d+ drops ${tunnel}`),
  ],
  [
    "a chain of a pod's device, of inet",
    `nft 'table inet t { chain c { type filter hook ingress device "veth7" priority 0; policy drop; }; }'`,
    /^warn inet t c \(policy drop\) drops pods' ARP/,
  ],
  [
    "between the bridge's ports",
    `nft 'table bridge t { chain c { type filter hook forward priority 0; policy drop; }; }'`,
    /^warn bridge t c \(policy drop\) drops ARP between pods of this node/,
  ],
  [
    "addresses of other devices (a strict host model)",
    `nft 'table inet t { chain c { type filter hook prerouting priority -150; fib daddr . iif type != { local, broadcast, multicast } drop; }; }'`,
    new RegExp(`^warn inet t c handle \\d+ drops .*endpoint 192.0.2.1:6443 at this[^;]*; .*${own}`),
  ],
  [
    "beside a chain that is too long to read",
    `(echo "table ip nat { chain c {"; echo "type nat hook prerouting priority -100;"
    for i in $(seq 10100); do echo "ip daddr 10.96.0.0/16 tcp dport $i counter"; done; echo "}; }") | nft -f -
    iptables -A INPUT -p udp --dport 8472 -j DROP`,
    new RegExp(`^warn ip filter INPUT handle \\d+ drops ${tunnel}`),
  ],
  [
    "a bridge filter",
    `nft 'table bridge t { chain c { type filter hook input priority 0; ether type arp drop; }; }'`,
    /^warn bridge t c handle \d+ drops pods' ARP/,
  ],
  [
    "ebtables",
    "ebtables -A OUTPUT -p IPv4 --ip-proto tcp -j DROP",
    new RegExp(`^warn bridge filter OUTPUT handle \\d+ drops .*${probes}`),
  ],
  [
    "arptables",
    "arptables -A INPUT -i pcnk0 -j DROP",
    /^warn arp filter INPUT handle \d+ drops pods' ARP/,
  ],
  [
    "a queue",
    "iptables -A INPUT -i pcnk0 -j NFQUEUE --queue-num 3",
    /^note ip filter INPUT handle \d+ may drop /,
  ],
];

/** The same, of legacy iptables. */
const LEGACY: Case[] = [
  [
    "policies",
    "iptables-legacy -P FORWARD DROP",
    /^note iptables-legacy filter FORWARD \(policy drop\) drops/,
  ],
  [
    "rules in front of the end",
    `iptables-legacy -N pods; iptables-legacy -A INPUT -i pcnk+ -g pods
    iptables-legacy -A pods -m conntrack --ctstate ESTABLISHED -j ACCEPT
    iptables-legacy -A pods -p tcp -m multiport --dports 80,6443:6444 -j REJECT
    iptables-legacy -t raw -A PREROUTING -p udp -m udp --dport 8472 ! -i lo -j DROP`,
    new RegExp(`^warn iptables-legacy raw PREROUTING rule 1 drops ${tunnel}`),
    /^warn iptables-legacy filter pods rule 2 drops .*endpoint 192.0.2.1:6443/,
  ],
  [
    "a healthy firewall",
    `iptables-legacy -P INPUT DROP; iptables-legacy -A INPUT -i lo -j ACCEPT
    iptables-legacy -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
    iptables-legacy -A INPUT -m addrtype --dst-type LOCAL -i pcnk0 -j ACCEPT
    iptables-legacy -A INPUT -p udp --dport 8472 -s 192.0.2.0/24 -j ACCEPT
    iptables-legacy -A INPUT -p tcp --dport 6443 -j ACCEPT
    iptables-legacy -A INPUT -i pcnk_vxlan -j ACCEPT`,
  ],
];

Deno.test({
  name: "what status finds in others' netfilter rules",
  ignore: !root() || !file("/usr/sbin/nft") || !file("/usr/sbin/iptables"),
  fn: async (t) => {
    using sandbox = new Sandbox();
    const netns = sandbox.netns();
    const network = networkIn(netns);
    const run = async (cases: Case[], clear: string) => {
      for (const [name, shell, ...wanted] of cases) {
        await t.step(name, async () => {
          await inside(netns, clear);
          await inside(netns, shell);
          const found = withNetns(netns.path, () => readFindings(network))
            .map(({ health, text }: Finding) => `${health} ${text}`);
          for (const text of wanted) {
            assert.ok(found.some((one) => text.test(one)), `no ${text} in ${found.join("\n")}`);
          }
          assert.equal(found.length, wanted.length, found.join("\n"));
        });
      }
    };
    await run([...HEALTHY, ...HITTING], "nft flush ruleset");
    if (await inside(netns, "iptables-legacy -nL", false)) {
      const tables = ["filter", "raw"].map((table) =>
        `iptables-legacy -t ${table} -F; iptables-legacy -t ${table} -X`
      );
      const policies = ["INPUT", "FORWARD"].map((chain) => `iptables-legacy -P ${chain} ACCEPT`);
      await run(LEGACY, ["nft flush ruleset", ...tables, ...policies].join("; "));
    }
  },
});

/** The devices, and their numbers, in the namespace. */
function networkIn({ nl }: TestNetns): NodeNetwork {
  for (const name of ["eth0", "pcnk0", "pcnk_vxlan", "veth7", "veth8", "veth9"]) {
    nl.addLink({ kind: "bridge", name });
  }
  const device = (name: string): Device => ({ index: nl.link(name)!.index, name });
  return {
    own: "192.0.2.1",
    ownDevice: nl.link("eth0")!.index,
    gateway: "10.244.1.1",
    pods: addresses(["10.244.1.0", "10.244.1.255"]),
    remotePods: addresses(["10.244.2.0", "10.244.2.255"]),
    podDevices: [device("veth7"), device("veth8")],
    bridge: device("pcnk0"),
    uplinks: [device("eth0")],
    overlay: { device: device("pcnk_vxlan"), port: 8472, peers: ["192.0.2.2", "192.0.2.3"] },
    stack: false,
    endpoints: [{ addr: "192.0.2.1", port: 6443, protocol: PROTOCOL.TCP }],
  };
}

async function inside(netns: TestNetns, shell: string, must = true): Promise<boolean> {
  const args = ["netns", "exec", netns.name, "sh", "-ec", shell];
  const { success, stderr } = await new Deno.Command("ip", { args, stderr: "piped" }).output();
  assert.ok(success || !must, new TextDecoder().decode(stderr));
  return success;
}
