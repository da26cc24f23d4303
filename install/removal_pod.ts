/**
 * A Pod that removes pcnk from one node, whose agent did not run when its DaemonSet was deleted. It needs no rights in the
 * cluster, no network on the node, and no ConfigMap, which was deleted with the DaemonSet. Pure.
 */
import type { KubeObject } from "./kube_object.ts";
import { containerOf, hostMounts, NAME, OLDEST, unconfined } from "./pods.ts";
import type { SetOptions } from "./set_options.ts";

/** @param set as for the manifest that was applied: where things are on the node */
export function removalPod(
  set: SetOptions,
  version: string,
  node: string,
  kubernetes = OLDEST,
): KubeObject {
  const [volumes, volumeMounts] = hostMounts(set);
  const words = [...set.settings].flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const container = {
    name: "uninstall",
    ...containerOf({ set, kubernetes, image: set.own.get("image") ?? `localhost/pcnk:${version}` }),
    command: ["pcnk", "uninstall", ...words],
    volumeMounts,
  };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `${NAME}-removal-${node}`,
      namespace: set.own.get("namespace") ?? "kube-system",
      // Not those that the DaemonSet selects.
      labels: { "app.kubernetes.io/name": `${NAME}-removal` },
      annotations: unconfined(kubernetes, "uninstall"),
    },
    spec: {
      // Past the scheduler: the node is NotReady without a network.
      nodeName: node,
      hostNetwork: true,
      restartPolicy: "OnFailure",
      automountServiceAccountToken: false,
      priorityClassName: "system-node-critical",
      tolerations: [{ operator: "Exists" }],
      containers: [container],
      volumes,
    },
  };
}
