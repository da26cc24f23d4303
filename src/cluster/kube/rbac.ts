/**
 * What the agent asks of the API server, as RBAC rules (rbac.authorization.k8s.io/v1): the least that works. The manifest
 * is generated from this, and a test runs the agent's source with exactly these.
 */

export interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
  resourceNames?: string[];
}

/**
 * For a ClusterRole. Reading everywhere; of writing only the status of Nodes, which RBAC cannot narrow to the own one:
 * install/admission.ts does where it can. Pods only where a setting makes use of them: RBAC knows no selectors, so these are
 * rights to all Pods, and to what is in their environment.
 */
export function clusterRules(
  { sourceCheck, podWeights }: { sourceCheck: string; podWeights: string },
): Rule[] {
  const follow = ["list", "watch"];
  const verbs = [
    ...(podWeights === "labelled" ? follow : []),
    ...(sourceCheck === "annotated" ? ["get"] : []),
  ];
  return [
    { apiGroups: [""], resources: ["services", "endpoints", "nodes"], verbs: follow },
    ...(verbs.length === 0 ? [] : [{ apiGroups: [""], resources: ["pods"], verbs }]),
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: follow },
    { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
  ];
}

/** Events about a Node are in this namespace, as the kubelet's are. */
export const eventNamespace = "default";

/** For a Role in `eventNamespace`. */
export const eventRules: readonly Rule[] = [
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
];
