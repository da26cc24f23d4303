/** What a Node's annotations say about routing. */
import type { RoutingNode } from "./types.ts";

/** Asks for direct routing with nodes on the same subnet that ask too: `true` or `false`. */
export const DIRECT_ROUTING = "pcnk.io/direct-routing";
/** The tunnel's far end for a node behind NAT: an IPv4 address. */
export const PUBLIC_IP = "pcnk.io/public-ip";

/** Reads the annotations; a value of `direct-routing` that is neither counts as not given. */
export function routingAnnotations(
  annotations: Readonly<Record<string, unknown>>,
): Pick<RoutingNode, "publicIP" | "directRouting"> {
  const publicIP = annotations[PUBLIC_IP];
  const direct = annotations[DIRECT_ROUTING];
  return {
    ...(typeof publicIP === "string" && publicIP !== "" ? { publicIP } : {}),
    ...(direct === "true" || direct === "false" ? { directRouting: direct === "true" } : {}),
  };
}
