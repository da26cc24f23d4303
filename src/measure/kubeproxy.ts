/**
 * Services as kube-proxy's iptables mode writes them (pkg/proxy/iptables/proxier.go of Kubernetes 1.31): the same chains,
 * in the same order, as input for iptables-restore. Pure.
 *
 * Limitation: ClusterIP and NodePort of externalTrafficPolicy Cluster; no affinity, no local endpoints. kube-proxy's rule for
 * invalid conntrack states counts through nfacct, which is left out.
 */

/** A service port and where it leads. */
export interface ServicePort {
  addr: string;
  port: number;
  backends: readonly { addr: string; port: number }[];
  /** TCP when absent. */
  protocol?: "tcp" | "udp";
  /** A port on every address of the node. */
  nodePort?: number;
}

/** kube-proxy's default mark for masquerading. */
const MARK = "0x4000";

const NAT_HEAD = [
  '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
  `-A KUBE-POSTROUTING -m mark ! --mark ${MARK}/${MARK} -j RETURN`,
  `-A KUBE-POSTROUTING -j MARK --xor-mark ${MARK}`,
  '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" ' +
  "-j MASQUERADE --random-fully",
  `-A KUBE-MARK-MASQ -j MARK --or-mark ${MARK}`,
];

const NEW = "-m conntrack --ctstate NEW";
const FILTER = [
  `-A INPUT ${NEW} -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`,
  '-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS',
  `-A INPUT ${NEW} -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES`,
  `-A FORWARD ${NEW} -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`,
  '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
  `-A FORWARD ${NEW} -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`,
  `-A FORWARD ${NEW} -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES`,
  `-A OUTPUT ${NEW} -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`,
  `-A OUTPUT ${NEW} -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`,
  `-A KUBE-FORWARD -m mark --mark ${MARK}/${MARK} -j ACCEPT`,
  "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
];

/** Text for `iptables-restore`; replaces the tables nat and filter. */
export function kubeProxyRules(services: readonly ServicePort[], clusterCIDR: string): string {
  const chains = ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-NODEPORTS"];
  const rules: string[] = [];
  services.forEach((service, i) => {
    const tag = String(i).padStart(16, "0");
    chains.push(`KUBE-SVC-${tag}`);
    rules.push(...serviceRules(service, tag, clusterCIDR));
    if (service.nodePort !== undefined) {
      chains.push(`KUBE-EXT-${tag}`);
      rules.push(...nodePortRules(service, tag, service.nodePort));
    }
    service.backends.forEach((_, j) => chains.push(endpointChain(tag, j)));
  });
  rules.push(
    '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" ' +
      "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
  );
  return [
    "*filter",
    ...[
      ":KUBE-SERVICES",
      ":KUBE-EXTERNAL-SERVICES",
      ":KUBE-FORWARD",
      ":KUBE-NODEPORTS",
      ":KUBE-PROXY-FIREWALL",
    ]
      .map((chain) => `${chain} - [0:0]`),
    ...FILTER,
    "COMMIT",
    "*nat",
    ...chains.map((chain) => `:${chain} - [0:0]`),
    ...NAT_HEAD,
    ...rules,
    "COMMIT",
    "",
  ].join("\n");
}

function endpointChain(tag: string, index: number): string {
  // As long as the hashes of the real ones, which fill the 28 characters that iptables allows nearly up.
  return `KUBE-SEP-${tag.slice(-12)}${String(index).padStart(4, "0")}`;
}

function nameOf(tag: string): string {
  return `bench/service-${Number(tag)}:http`;
}

/** What comes from outside is masqueraded, so that the reply comes back this way. */
function nodePortRules({ protocol = "tcp" }: ServicePort, tag: string, port: number): string[] {
  const name = nameOf(tag);
  const match = `-p ${protocol} -m ${protocol} --dport ${port}`;
  return [
    `-A KUBE-NODEPORTS -m comment --comment "${name}" ${match} -j KUBE-EXT-${tag}`,
    `-A KUBE-EXT-${tag} -m comment --comment "masquerade traffic for ${name} external destinations" -j KUBE-MARK-MASQ`,
    `-A KUBE-EXT-${tag} -j KUBE-SVC-${tag}`,
  ];
}

function serviceRules(service: ServicePort, tag: string, clusterCIDR: string): string[] {
  const { addr, port, backends, protocol = "tcp" } = service;
  const name = nameOf(tag);
  const match = `-d ${addr}/32 -p ${protocol} -m ${protocol} --dport ${port}`;
  const rules = [
    `-A KUBE-SERVICES -m comment --comment "${name} cluster IP" ${match} -j KUBE-SVC-${tag}`,
    `-A KUBE-SVC-${tag} -m comment --comment "${name} cluster IP" ${match} ! -s ${clusterCIDR} -j KUBE-MARK-MASQ`,
  ];
  backends.forEach((backend, i) => {
    const target = `${backend.addr}:${backend.port}`;
    const left = backends.length - i;
    const chance = left > 1
      ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`
      : "";
    const chain = endpointChain(tag, i);
    rules.push(
      `-A KUBE-SVC-${tag} -m comment --comment "${name} -> ${target}"${chance} -j ${chain}`,
      `-A ${chain} -m comment --comment "${name}" -s ${backend.addr}/32 -j KUBE-MARK-MASQ`,
      `-A ${chain} -m comment --comment "${name}" -m ${protocol} -p ${protocol} -j DNAT --to-destination ${target}`,
    );
  });
  return rules;
}
