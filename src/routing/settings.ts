import type { NodeSettings } from "../model/node_settings.ts";
import type { RoutingNode } from "./types.ts";

/** The settings of a node that concern routing. publicIP is checked when a plan is made. */
export function routingSettings(
  { publicIP, directRouting, vpcMode }: NodeSettings,
): Pick<RoutingNode, "publicIP" | "directRouting" | "vpcMode"> {
  return {
    publicIP: publicIP || undefined,
    directRouting: directRouting === undefined ? undefined : directRouting === "true",
    vpcMode: vpcMode === "aws" ? "aws" : undefined,
  };
}
