/**
 * pcnk as objects of Kubernetes: what `pcnk manifest` prints. Pure.
 *
 * Only fields of Kubernetes 1.20 and later, and no feature gate.
 */
import { stringify } from "yaml";
import { createHash } from "node:crypto";
import { clusterRules, eventNamespace, eventRules, type Rule } from "../src/cluster/kube/rbac.ts";
import { type About, hostAndPort, NAME, podSpec } from "./pods.ts";
import { absolutePath, type SetOptions, type SetRules, settingsTree } from "./set_options.ts";

const LABELS = { "app.kubernetes.io/name": NAME };

/** What the agent may do in its own namespace: see that its DaemonSet is being deleted, and so clean the node up. */
const namespaceRules: Rule[] = [{
  apiGroups: ["apps"],
  resources: ["daemonsets"],
  verbs: ["get", "list", "watch"],
  resourceNames: [NAME],
}];

/** An object of Kubernetes. */
export type KubeObject = { apiVersion: string; kind: string } & Record<string, unknown>;

const dnsLabel = (value: string) => {
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(value)) {
    throw new Error("must be the name of a namespace: lower case letters, digits and -");
  }
};

/** What `--set` takes besides the agent's settings. */
export const manifestKeys: SetRules = {
  own: {
    image(value) {
      if (!/^[a-z0-9]+[\w./:@-]*$/.test(value)) {
        throw new Error("must be an image, e.g. registry.example/pcnk:0.1.0");
      }
    },
    imagePullPolicy(value) {
      if (!["Always", "IfNotPresent", "Never"].includes(value)) {
        throw new Error("must be one of Always, IfNotPresent, Never");
      }
    },
    namespace: dnsLabel,
    arch(value) {
      if (!/^(amd64|arm64)(,(amd64|arm64))*$/.test(value)) {
        throw new Error("must be amd64, arm64, or both with a comma between");
      }
    },
    apiServer(value) {
      if (hostAndPort(value) === undefined) {
        throw new Error("must be HOST or HOST:PORT, e.g. 192.0.2.10:6443");
      }
    },
    cniBinDir: absolutePath,
  },
  refused: {
    nodeName: "every node has its own, from its Node object",
    manifests: "the DaemonSet's agent reads the Kubernetes API",
    kubeconfig: "the DaemonSet's agent uses its ServiceAccount",
    ...Object.fromEntries(
      ["etcd.ca", "etcd.cert", "etcd.key", "etcd.passwordFile"].map((key) => [
        key,
        "it names a file, and the DaemonSet's pods have none of the node's; print the manifest without it and add a Secret",
      ]),
    ),
  },
};

/** All objects, in the order in which kubectl creates them. */
export function manifest(set: SetOptions, version: string): KubeObject[] {
  const own = (key: string, fallback: string) => set.own.get(key) ?? fallback;
  const namespace = own("namespace", "kube-system");
  const config = configFile(set);
  const about = { set, namespace, image: own("image", `localhost/pcnk:${version}`) };
  const objects = [
    ...[object("v1", "ServiceAccount", namespace, {}), ...access(namespace)].map(markAccess),
    object("v1", "ConfigMap", namespace, { data: { "config.yaml": config } }),
    daemonSet(about, config),
  ];
  return namespace === "kube-system" ? objects : [namespaceObject(namespace), ...objects];
}

/** An image of localhost is in no registry: how it gets onto a node. */
function imageNote(objects: readonly KubeObject[]): string {
  const image = /"image":"(localhost\/[^"]*)"/.exec(JSON.stringify(objects))?.[1];
  if (image === undefined) return "";
  return `# ${image} is in no registry. Bring it onto each node first, or give --set image=REGISTRY/pcnk:VERSION:\n` +
    "#   scp dist/pcnk-image.tar NODE:/tmp/\n" +
    "#   ssh NODE ctr -n k8s.io images import /tmp/pcnk-image.tar\n";
}

/** The objects as one YAML stream. */
export function renderManifest(
  objects: readonly KubeObject[],
  version: string,
  what = "kubectl apply -f this, or kubectl delete -f this, which cleans the nodes up too",
): string {
  return `# pcnk ${version}: ${what}.\n` + imageNote(objects) +
    objects.map((one) => `---\n${stringify(one, { lineWidth: 0, aliasDuplicateObjects: false })}`)
      .join("");
}

function object(
  apiVersion: string,
  kind: string,
  namespace: string | undefined,
  rest: Record<string, unknown>,
  name = NAME,
): KubeObject {
  return { apiVersion, kind, metadata: { name, namespace, labels: LABELS }, ...rest };
}

/** Pod security admission (1.23) must admit a privileged pod. */
function namespaceObject(name: string): KubeObject {
  const labels = { ...LABELS, "pod-security.kubernetes.io/enforce": "privileged" };
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

/** Labels what gives agents their rights, without what runs them: kubectl apply -l pcnk.io/part=access. */
function markAccess(one: KubeObject): KubeObject {
  const metadata = one.metadata as { labels: Record<string, string> };
  const labels = { ...metadata.labels, "pcnk.io/part": "access" };
  return { ...one, metadata: { ...metadata, labels } };
}

function access(namespace: string): KubeObject[] {
  const rbac = "rbac.authorization.k8s.io";
  const group = `${rbac}/v1`;
  const subjects = [{ kind: "ServiceAccount", name: NAME, namespace }];
  const roleRef = (kind: string, name = NAME) => ({ apiGroup: rbac, kind, name });
  return [
    object(group, "ClusterRole", undefined, { rules: clusterRules }),
    object(group, "ClusterRoleBinding", undefined, { roleRef: roleRef("ClusterRole"), subjects }),
    object(group, "Role", namespace, { rules: namespaceRules }),
    object(group, "RoleBinding", namespace, { roleRef: roleRef("Role"), subjects }),
    object(group, "Role", eventNamespace, { rules: eventRules }, "pcnk-events"),
    object(group, "RoleBinding", eventNamespace, {
      roleRef: roleRef("Role", "pcnk-events"),
      subjects,
    }, "pcnk-events"),
  ];
}

function configFile({ settings }: SetOptions): string {
  const tree = settingsTree(settings);
  const head = "# Settings of pcnk's agents; `pcnk agent --help` lists them all.\n";
  return head + (Object.keys(tree).length === 0 ? "{}\n" : stringify(tree, { lineWidth: 0 }));
}

function daemonSet(about: About, config: string): KubeObject {
  const { namespace } = about;
  return object("apps/v1", "DaemonSet", namespace, {
    spec: {
      selector: { matchLabels: LABELS },
      // Packets pass while an agent restarts.
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "10%" } },
      template: {
        metadata: {
          labels: LABELS,
          // Changed settings restart the agents.
          annotations: { "pcnk.io/config-hash": hash(config) },
        },
        spec: podSpec(about),
      },
    },
  });
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
