/**
 * What other programs' netfilter rules may do to pods' packets that pass by the node's stack. Rules are not interpreted: a
 * chain that ends in a drop is named with the traffic that it decides on, as far as no rule before accepts it.
 */
import { NODE_FLAG } from "../bpf/layout.ts";
import { type NetfilterState, readNetfilter } from "../linux/netfilter.ts";
import type { Finding } from "./finding.ts";
import type { NodeReader } from "./node.ts";

/** What of this node decides on which packets meet a chain. */
interface Place {
  /** The pods' device: their bridge. */
  device: string;
  /** Pods' packets to the world take the stack. */
  stack: boolean;
  /** UDP port of the overlay's tunnel; 0: there is none. */
  overlayPort: number;
}

interface Check {
  hook: NetfilterState["closed"][number]["hook"];
  /** What of pods' traffic meets the chain. */
  hits(place: Place): string;
  /** Rules that accept it. */
  accept(place: Place): string[];
}

const CHECKS: readonly Check[] = [
  {
    hook: "input",
    hits: ({ overlayPort }) => {
      const here =
        "pods' packets to this node's own addresses, Services with an endpoint there, and clients of those from outside";
      return overlayPort === 0
        ? here
        : `${here}; also the overlay's tunnel: all packets of other nodes' pods`;
    },
    accept: ({ device, overlayPort }) => [
      `iifname "${device}"`,
      ...(overlayPort === 0 ? [] : [`udp dport ${overlayPort}`]),
    ],
  },
  {
    hook: "forward",
    hits: ({ stack }) =>
      stack
        ? "pods' packets to the world and back (podEgress: stack)"
        : "pods' packets to devices that are no uplinks (other bridges, VPNs) and back, those with IP options or to be fragmented, and hostPorts by netfilter; not to the world",
    accept: ({ device }) => [`iifname "${device}"`, `oifname "${device}"`],
  },
  {
    hook: "output",
    hits: () => "packets of this node's own processes to its pods: kubelet's probes",
    accept: ({ device }) => [`oifname "${device}"`],
  },
];

/** Findings about the chains. */
export function netfilterFindings(
  { closed, kubeProxy }: NetfilterState,
  place: Place,
): Finding[] {
  const part = "netfilter";
  const found = CHECKS.flatMap(({ hook, hits, accept }): Finding[] => {
    const chains = closed.filter((chain) => chain.hook === hook)
      .map(({ name, by }) => by === "policy" ? `${name} (policy drop)` : `${name} (its last rule)`);
    if (chains.length === 0) return [];
    const text = `${chains.join(", ")} may drop ${hits(place)}`;
    const rules = accept(place).map((rule) => `\`${rule}\``).join(" and ");
    return [{ part, health: "note", text, next: `if they are lost, accept ${rules} there` }];
  });
  if (kubeProxy) {
    found.push({
      part,
      health: "note",
      text:
        "kube-proxy's rules are here: they decide on what pcnk leaves to the stack, with the endpoints of when they were written",
      next: "stop kube-proxy on this node, then: kube-proxy --cleanup",
    });
  }
  return found;
}

/** Of this node. */
export function nodeNetfilter(node: NodeReader): Finding[] {
  const config = node.maps.config.get(0);
  const device = node.links.get(config?.pods_ifindex ?? 0)?.name ?? "pcnk0";
  const stack = ((config?.flags ?? 0) & NODE_FLAG.EGRESS_STACK) !== 0;
  const overlayPort = config?.overlay_port ?? 0;
  return netfilterFindings(readNetfilter(), { device, stack, overlayPort });
}
