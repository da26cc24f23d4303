/**
 * What other programs' netfilter rules may do to pods' packets that pass by the node's stack. Rules are not interpreted: a
 * chain that ends in a drop is named with the traffic that it decides on, as far as no rule before accepts it.
 */
import { NODE_FLAG } from "../bpf/layout.ts";
import { type NetfilterState, readNetfilter } from "../linux/netfilter.ts";
import type { Finding } from "./finding.ts";
import type { NodeReader } from "./node.ts";

interface Check {
  hook: NetfilterState["closed"][number]["hook"];
  /** What of pods' traffic meets the chain; `stack`: all that goes to the world does. */
  hits(stack: boolean): string;
  /** Rules that accept it; BRIDGE stands for the pods' device. */
  accept: string;
}

const CHECKS: readonly Check[] = [
  {
    hook: "input",
    hits: () =>
      "pods' packets to this node's own addresses, Services with an endpoint there, clients of those from outside, and the overlay's tunnel (overlay.port): all packets of other nodes' pods",
    accept: 'iifname "BRIDGE"` and `udp dport 4789',
  },
  {
    hook: "forward",
    hits: (stack) =>
      stack
        ? "pods' packets to the world and back (podEgress: stack)"
        : "pods' packets to devices that are no uplinks (other bridges, VPNs) and back, those with IP options or to be fragmented, and hostPorts by netfilter; not to the world",
    accept: 'iifname "BRIDGE"` and `oifname "BRIDGE"',
  },
  {
    hook: "output",
    hits: () => "packets of this node's own processes to its pods: kubelet's probes",
    accept: 'oifname "BRIDGE"',
  },
];

/** Findings about the chains, with `device` as the pods' bridge. */
export function netfilterFindings(
  { closed, kubeProxy }: NetfilterState,
  { device, stack }: { device: string; stack: boolean },
): Finding[] {
  const part = "netfilter";
  const found = CHECKS.flatMap(({ hook, hits, accept }): Finding[] => {
    const chains = closed.filter((chain) => chain.hook === hook)
      .map(({ name, by }) => by === "policy" ? `${name} (policy drop)` : `${name} (its last rule)`);
    if (chains.length === 0) return [];
    const text = `${chains.join(", ")} may drop ${hits(stack)}`;
    const rule = accept.replaceAll("BRIDGE", device);
    return [{ part, health: "note", text, next: `if they are lost, accept \`${rule}\` there` }];
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
  const bridge = node.links.get(config?.pods_ifindex ?? 0)?.name ?? "pcnk0";
  const stack = ((config?.flags ?? 0) & NODE_FLAG.EGRESS_STACK) !== 0;
  return netfilterFindings(readNetfilter(), { device: bridge, stack });
}
