/** The checks of /healthz and /readyz. */
import type { Source } from "../../cluster/source.ts";
import type { PodReadiness } from "../node/pod_readiness.ts";
import type { Check } from "./health.ts";
import type { Fault } from "../../upkeep/fault.ts";
import type { Network } from "../network/network.ts";
import type { NodeSettingsSource } from "../sources/node_settings.ts";
import type { Reconciler } from "../services/reconciler.ts";
import type { Upkeep } from "../upkeep/upkeep.ts";
import type { Vpc } from "../network/vpc.ts";

export interface CheckedParts {
  reconciler: Pick<Reconciler, "healthy">;
  network: Pick<Network, "failing" | "podMtu">;
  source: Pick<Source, "trouble">;
  podReadiness: Pick<PodReadiness, "failure">;
  upkeep: Pick<Upkeep, "faults">;
  nodeSettings: Pick<NodeSettingsSource, "failing">;
  vpc: Pick<Vpc, "failing">;
}

/** Milliseconds for which a source may be without its server: API servers restart. */
const graceMs = 10_000;

export function agentChecks(parts: CheckedParts): Check[] {
  const { reconciler, network, source, podReadiness, nodeSettings, upkeep, vpc } = parts;
  const ofPods = upkeep.faults.filter(({ ofPod }) => ofPod);
  const faults = upkeep.faults.filter(({ ofPod }) => !ofPod);
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
    { name: "objects", ready: true, failure: faults[0] && describe(faults) },
    { name: "pods", failure: ofPods[0] && describe(ofPods) },
    { name: "source", failure: lasting(source.trouble) },
    { name: "settings", failure: lasting(nodeSettings.failing) },
    { name: "vpc", failure: lasting(vpc.failing) },
  ];
}

/** The first fault with what to do, and how many more there are. */
function describe(faults: readonly Fault[]): string {
  const [{ text, next }] = faults as [Fault];
  const more = faults.length === 1 ? "" : ` (${faults.length - 1} more, see pcnk status)`;
  return `${text}; ${next}${more}`;
}

/** A failure that lasts longer than a restart. */
function lasting(trouble: { reason: string; sinceMs: number } | undefined): string | undefined {
  if (trouble === undefined || trouble.sinceMs <= graceMs) return undefined;
  return `for ${Math.round(trouble.sinceMs / 1000)} s: ${trouble.reason}`;
}
