/** The rules that peers of pcnk have for the services of a lab. */
import {
  endpointSliceManifests,
  type LabService,
  serviceManifests,
} from "../../src/lab/manifests.ts";
import { type ApiObject, placeOn, startControlPlane } from "./control_plane.ts";
import { findKit } from "./kit.ts";
import { kubeProxyRules } from "../../src/measure/kubeproxy.ts";
import { CLUSTER_CIDR, servicePorts } from "../../src/measure/lab_testbed.ts";
import { realKubeProxyRules } from "./real_kube_proxy.ts";
import type { Stage } from "./stage.ts";

/** Rules for iptables-restore, and whose they are. */
interface KubeProxyRules {
  text: string;
  /** Why they are not the real kube-proxy's. */
  note?: string;
}

/** The services as the real kube-proxy writes them; where it cannot be had, as kubeproxy.ts does. */
export async function kubeProxyRulesOf(
  stage: Stage,
  services: LabService[],
): Promise<KubeProxyRules> {
  const kit = findKit();
  if (typeof kit === "string") {
    const note = `kube-proxy's rules are generated, not its own: ${kit}`;
    return { text: kubeProxyRules(servicePorts(services), CLUSTER_CIDR), note };
  }
  const control = await startControlPlane(stage, kit, placeOn(stage));
  await control.create([
    ...serviceManifests(services),
    ...endpointSliceManifests(services).map(inBeta),
  ]);
  const wanted = servicePorts(services).flatMap((
    { addr, port, protocol = "tcp", nodePort, backends },
  ) => [
    `-d ${addr}/32 -p ${protocol} `,
    `--dport ${port} `,
    ...(nodePort === undefined ? [] : [`-m ${protocol} --dport ${nodePort} `]),
    ...backends.map((backend) =>
      `-m ${protocol} -j DNAT --to-destination ${backend.addr}:${backend.port}`
    ),
  ]);
  const options = { node: "node1", clusterCIDR: CLUSTER_CIDR, wanted };
  return { text: await realKubeProxyRules(stage, control, options) };
}

/** A slice for Kubernetes 1.20, which knows discovery.k8s.io/v1beta1 only. */
function inBeta(slice: ReturnType<typeof endpointSliceManifests>[number]): ApiObject {
  return {
    ...slice,
    apiVersion: "discovery.k8s.io/v1beta1",
    endpoints: slice.endpoints.map(({ nodeName, ...endpoint }) => ({
      ...endpoint,
      topology: { "kubernetes.io/hostname": nodeName },
    })),
  };
}
