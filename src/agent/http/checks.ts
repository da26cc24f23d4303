/** The checks of /healthz and /readyz. */
import type { Source } from "../../cluster/source.ts";
import type { PodReadiness } from "../node/pod_readiness.ts";
import type { Check } from "./health.ts";
import type { Network } from "../network/network.ts";
import type { NodeSettingsSource } from "../sources/node_settings.ts";
import type { Reconciler } from "../services/reconciler.ts";
import type { Vpc } from "../network/vpc.ts";

export interface CheckedParts {
  reconciler: Pick<Reconciler, "healthy">;
  network: Pick<Network, "failing" | "podMtu">;
  source: Pick<Source, "trouble">;
  podReadiness: Pick<PodReadiness, "failure">;
  nodeSettings: Pick<NodeSettingsSource, "failing">;
  vpc: Pick<Vpc, "failing">;
}

/** Milliseconds for which a source may be without its server: API servers restart. */
const graceMs = 10_000;

export function agentChecks(parts: CheckedParts): Check[] {
  const { reconciler, network, source, podReadiness, nodeSettings, vpc } = parts;
  return [
    {
      name: "maps",
      ready: true,
      failure: reconciler.healthy ? undefined : "not in sync with the cluster's objects",
    },
    {
      name: "network",
      ready: true,
      failure: network.failing ?? (network.podMtu === undefined ? "not set up yet" : undefined),
    },
    { name: "cni", ready: true, failure: podReadiness.failure },
    { name: "source", failure: lasting(source.trouble) },
    { name: "settings", failure: lasting(nodeSettings.failing) },
    { name: "vpc", failure: lasting(vpc.failing) },
  ];
}

/** A failure that lasts longer than a restart. */
function lasting(trouble: { reason: string; sinceMs: number } | undefined): string | undefined {
  if (trouble === undefined || trouble.sinceMs <= graceMs) return undefined;
  return `for ${Math.round(trouble.sinceMs / 1000)} s: ${trouble.reason}`;
}
