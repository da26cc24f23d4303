/** Whose tunnel packets this node takes in. Pure. */
import { isIpv4 } from "../net/ipv4.ts";
import type { RoutingNode } from "./types.ts";

/**
 * The addresses that tunnels of nodes other than `own` come from: a node's InternalIPs, and its public IP, which is what a
 * NAT in front of it puts in. What is no IPv4 address is left out; the plan tells of it.
 */
export function tunnelSources(nodes: Iterable<RoutingNode>, own: string): Set<string> {
  const sources = new Set<string>();
  for (const { name, internalIPs, publicIP } of nodes) {
    if (name === own) continue;
    for (const address of [...internalIPs, publicIP ?? ""]) {
      if (isIpv4(address)) sources.add(address);
    }
  }
  return sources;
}
