/** What a Node's annotations say about routing. */
import { nodeSetting } from "../model/node_settings.ts";
import type { RoutingNode } from "./types.ts";

/** Asks for direct routing with nodes on the same subnet that ask too: `true` or `false`. */
export const DIRECT_ROUTING = nodeSetting("directRouting").annotation;
/** The tunnel's far end for a node behind NAT: an IPv4 address. */
export const PUBLIC_IP = nodeSetting("publicIP").annotation;
/** The cloud whose network carries pods' packets: `aws`. */
export const VPC_MODE = nodeSetting("vpcMode").annotation;

/** Reads the annotations; a value that cannot be one counts as not given, but for addresses, which are checked later. */
export function routingAnnotations(
  annotations: Readonly<Record<string, unknown>>,
): Pick<RoutingNode, "publicIP" | "directRouting" | "vpcMode"> {
  const publicIP = annotations[PUBLIC_IP];
  const direct = annotations[DIRECT_ROUTING];
  return {
    ...(typeof publicIP === "string" && publicIP !== "" ? { publicIP } : {}),
    ...(direct === "true" || direct === "false" ? { directRouting: direct === "true" } : {}),
    ...(annotations[VPC_MODE] === "aws" ? { vpcMode: "aws" } : {}),
  };
}
