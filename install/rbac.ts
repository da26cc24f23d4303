/** What the agent may do in its own namespace, beside src/cluster/kube/rbac.ts. */
import type { Rule } from "../src/cluster/kube/rbac.ts";

/** To see that its DaemonSet is being removed: then the node has to be cleaned up. */
export function namespaceRules(daemonSet: string): Rule[] {
  return [{
    apiGroups: ["apps"],
    resources: ["daemonsets"],
    verbs: ["get", "list", "watch"],
    resourceNames: [daemonSet],
  }];
}
