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

/** For a ClusterRole. Reading everywhere; of writing only the status of Nodes, which RBAC cannot narrow to the own one. */
export const clusterRules: readonly Rule[] = [
  {
    apiGroups: [""],
    resources: ["services", "endpoints", "nodes", "pods"],
    verbs: ["list", "watch"],
  },
  // The annotation of Pods of its node, with the setting sourceCheck: annotated.
  { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
  { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
];

/** Events about a Node are in this namespace, as the kubelet's are. */
export const eventNamespace = "default";

/** For a Role in `eventNamespace`. */
export const eventRules: readonly Rule[] = [
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
];
