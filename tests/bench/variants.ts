/** The ways to reach a server that are compared, on the same two pods: put on in turns, one at a time. */
import type { AttachMode } from "../../src/bpf/attach.ts";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import { kubeProxyRules, type ServicePort } from "../../src/measure/kubeproxy.ts";
import { runIn, type Variant } from "../../src/measure/variants.ts";
import { attachPcnk, detachPcnk } from "./dataplane.ts";
import { CLUSTER_CIDR, type Topology } from "./topology.ts";

/** pcnk on both veths and the bridge. */
export function pcnkVariant(topology: Topology, plane: DataPlane, mode: AttachMode): Variant {
  return {
    on: () => attachPcnk(topology, plane, mode),
    off: () => detachPcnk(topology, plane),
  };
}

/** kube-proxy's rules; afterwards no table is left, so that conntrack is off again. */
export function iptablesVariant(
  { node }: Topology,
  services: readonly ServicePort[],
): Variant {
  const rules = kubeProxyRules(services, CLUSTER_CIDR);
  return {
    on: () => runIn(node, ["iptables-restore"], rules),
    off: () => runIn(node, ["nft", "flush", "ruleset"]),
  };
}
