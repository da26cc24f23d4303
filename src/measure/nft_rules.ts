/**
 * Services as kube-proxy's nftables mode writes them (pkg/proxy/nftables/proxier.go of Kubernetes 1.31): the same chains, maps
 * and hooks, as input for `nft -f`. Pure.
 *
 * Limitation: as in kubeproxy.ts. Names of chains have no hash, which the kernel does not look at.
 */
import type { ServicePort } from "./kubeproxy.ts";

const MARK = "0x4000";

/** What the rules depend on besides the services. */
interface NftOptions {
  clusterCIDR: string;
  serviceCIDR: string;
  /** Addresses of the node at which NodePorts answer. */
  nodeAddresses: readonly string[];
}

const BASE_CHAINS = `
  chain filter-prerouting-pre-dnat { type filter hook prerouting priority dstnat - 10; ct state new jump firewall-check; }
  chain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }
  chain filter-input {
    type filter hook input priority filter;
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }
  chain filter-forward {
    type filter hook forward priority filter;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain filter-output {
    type filter hook output priority filter;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }`;

const CHAINS = `
  chain mark-for-masquerade { mark set mark or ${MARK}; }
  chain masquerading {
    mark and ${MARK} == 0 return
    mark set mark xor ${MARK}
    masquerade fully-random
  }
  chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
  chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
  chain nodeport-endpoints-check { ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }`;

const SERVICE_KEY = "ipv4_addr . inet_proto . inet_service";
const PORT_KEY = "inet_proto . inet_service";

/** Text for `nft -f -`; one table. */
export function nftRules(services: readonly ServicePort[], options: NftOptions): string {
  const { clusterCIDR, serviceCIDR, nodeAddresses } = options;
  const names = services.map((service, i) => `bench/service-${i}/${protocolOf(service)}/http`);
  const ips = services.map((service, i) =>
    `${service.addr} . ${protocolOf(service)} . ${service.port} : goto service-${names[i]}`
  );
  const nodePorts = services.flatMap(({ nodePort, protocol = "tcp" }, i) =>
    nodePort === undefined ? [] : [`${protocol} . ${nodePort} : goto external-${names[i]}`]
  );
  const clusterIPs = [...new Set(services.map(({ addr }) => addr))];
  return [
    "table ip kube-proxy {",
    // Chains come before what refers to them.
    `  chain cluster-ips-check { ip daddr @cluster-ips reject; ip daddr ${serviceCIDR} drop; }`,
    set("set", "cluster-ips", "ipv4_addr", clusterIPs),
    set("set", "nodeport-ips", "ipv4_addr", nodeAddresses),
    set("map", "no-endpoint-services", `${SERVICE_KEY} : verdict`, []),
    set("map", "no-endpoint-nodeports", `${PORT_KEY} : verdict`, []),
    set("map", "firewall-ips", `${SERVICE_KEY} : verdict`, []),
    CHAINS,
    ...services.flatMap((service, i) => serviceChains(service, names[i]!, clusterCIDR)),
    set("map", "service-ips", `${SERVICE_KEY} : verdict`, ips),
    set("map", "service-nodeports", `${PORT_KEY} : verdict`, nodePorts),
    BASE_CHAINS,
    "}",
    "",
  ].join("\n");
}

function protocolOf({ protocol = "tcp" }: ServicePort): string {
  return protocol;
}

function set(kind: "set" | "map", name: string, type: string, elements: readonly string[]): string {
  const filled = elements.length > 0 ? ` elements = { ${elements.join(", ")} };` : "";
  return `  ${kind} ${name} { type ${type};${filled} }`;
}

function serviceChains(service: ServicePort, name: string, clusterCIDR: string): string[] {
  const { addr, port, backends, nodePort } = service;
  const protocol = protocolOf(service);
  const endpoint = (i: number) => `endpoint-${name}-${i}`;
  const picks = backends.map((_, i) => `${i} : goto ${endpoint(i)}`).join(", ");
  return [
    ...backends.map((backend, i) =>
      `  chain ${endpoint(i)} { ip saddr ${backend.addr} jump mark-for-masquerade; ` +
      `meta l4proto ${protocol} dnat to ${backend.addr}:${backend.port}; }`
    ),
    `  chain service-${name} { ip daddr ${addr} ${protocol} dport ${port} ip saddr != ${clusterCIDR} ` +
    `jump mark-for-masquerade; numgen random mod ${backends.length} vmap { ${picks} }; }`,
    ...(nodePort === undefined
      ? []
      : [`  chain external-${name} { jump mark-for-masquerade; goto service-${name}; }`]),
  ];
}
