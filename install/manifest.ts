/**
 * pcnk as objects of Kubernetes: what `pcnk manifest` prints. Pure.
 *
 * Only fields of Kubernetes 1.20 and later, and no feature gate; more where a later version is named.
 */
import { stringify } from "yaml";
import { createHash } from "node:crypto";
import { clusterRules, eventNamespace, eventRules, type Rule } from "../src/cluster/kube/rbac.ts";
import { type About, hostAndPort, NAME, OLDEST, podSpec, unconfined } from "./pods.ts";
import { admission, ADMISSION_SINCE } from "./admission.ts";
import { type KubeObject, LABELS, object } from "./kube_object.ts";
import {
  absolutePath,
  type SetOptions,
  type SetRules,
  settingsTree,
  settingValue,
} from "./set_options.ts";

/** What the agent may do in its own namespace: see that its DaemonSet is being deleted, and so clean the node up. */
const namespaceRules: Rule[] = [{
  apiGroups: ["apps"],
  resources: ["daemonsets"],
  verbs: ["get", "list", "watch"],
  resourceNames: [NAME],
}];

const dnsLabel = (value: string) => {
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(value)) {
    throw new Error("must be the name of a namespace: lower case letters, digits and -");
  }
};

/** NAME[:TAG][@sha256:DIGEST] (distribution/reference: what container runtimes take). */
const IMAGE =
  /^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?(?::\d{1,5}(?=\/))?(?:\/[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;

/** What `--set` takes besides the agent's settings. */
export const manifestKeys: SetRules = {
  own: {
    image(value) {
      if (!IMAGE.test(value)) {
        throw new Error(
          "must be an image by tag or by digest, e.g. registry.example/pcnk:0.1.0 or registry.example/pcnk@sha256:…",
        );
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
    kernel(value) {
      if (!/^\d+\.\d+/.test(value)) throw new Error("must be a version of Linux, e.g. 5.10");
    },
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

/** The minor version of `1.30`, `v1.30.2`. @throws {Error} what is expected */
export function kubernetesMinor(version: string): number {
  const minor = Number(/^v?1\.(\d{1,3})(\.|$)/.exec(version)?.[1]);
  if (!(minor >= OLDEST)) throw new Error(`must be the cluster's version, 1.${OLDEST} or later`);
  return minor;
}

/**
 * All objects, in the order in which kubectl creates them.
 * @param kubernetes minor version of the cluster: what only later ones have is left out
 */
export function manifest(
  set: SetOptions,
  version: string,
  kubernetes = OLDEST,
): KubeObject[] {
  const own = (key: string, fallback: string) => set.own.get(key) ?? fallback;
  const namespace = own("namespace", "kube-system");
  const config = configFile(set);
  const about = { set, namespace, kubernetes, image: own("image", `localhost/pcnk:${version}`) };
  const objects = [
    ...[
      object("v1", "ServiceAccount", namespace, { automountServiceAccountToken: false }),
      ...access(set, namespace, kubernetes),
    ].map(
      markAccess,
    ),
    object("v1", "ConfigMap", namespace, { data: { "config.yaml": config } }),
    daemonSet(about, config),
  ];
  return namespace === "kube-system" ? objects : [namespaceObject(namespace), ...objects];
}

/** An image of localhost is in no registry: how it gets onto a node. */
function imageNote(objects: readonly KubeObject[]): string {
  const image = /"image":"(localhost\/[^"]*)"/.exec(JSON.stringify(objects))?.[1];
  if (image === undefined) return "";
  const name = image.replace(/[:@].*/, "");
  const byDigest = image.includes("@") ? `--base-name ${name} --digests ` : "";
  return `# ${image} is in no registry. Bring it onto each node first, or give --set image=REGISTRY/pcnk:VERSION:\n` +
    "#   scp dist/pcnk-image.tar NODE:/tmp/\n" +
    `#   ssh NODE ctr -n k8s.io images import ${byDigest}/tmp/pcnk-image.tar\n`;
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

function access(set: SetOptions, namespace: string, kubernetes: number): KubeObject[] {
  const setting = (key: string) => settingValue(set.settings, key);
  const rules = clusterRules({
    sourceCheck: setting("sourceCheck"),
    podWeights: setting("podWeights"),
  });
  const rbac = "rbac.authorization.k8s.io";
  const group = `${rbac}/v1`;
  const subjects = [{ kind: "ServiceAccount", name: NAME, namespace }];
  const roleRef = (kind: string, name = NAME) => ({ apiGroup: rbac, kind, name });
  return [
    object(group, "ClusterRole", undefined, { rules }),
    object(group, "ClusterRoleBinding", undefined, { roleRef: roleRef("ClusterRole"), subjects }),
    object(group, "Role", namespace, { rules: namespaceRules }),
    object(group, "RoleBinding", namespace, { roleRef: roleRef("Role"), subjects }),
    object(group, "Role", eventNamespace, { rules: eventRules }, "pcnk-events"),
    object(group, "RoleBinding", eventNamespace, {
      roleRef: roleRef("Role", "pcnk-events"),
      subjects,
    }, "pcnk-events"),
    ...(kubernetes >= ADMISSION_SINCE ? admission(namespace) : []),
  ];
}

function configFile({ settings }: SetOptions): string {
  const tree = settingsTree(settings);
  const head = "# Settings of pcnk's agents; `pcnk agent --help` lists them all.\n";
  return head + (Object.keys(tree).length === 0 ? "{}\n" : stringify(tree, { lineWidth: 0 }));
}

function daemonSet(about: About, config: string): KubeObject {
  const { namespace, kubernetes } = about;
  return object("apps/v1", "DaemonSet", namespace, {
    spec: {
      selector: { matchLabels: LABELS },
      // Packets pass while an agent restarts.
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "10%" } },
      template: {
        metadata: {
          labels: LABELS,
          annotations: {
            // Changed settings restart the agents.
            "pcnk.io/config-hash": hash(config),
            "kubectl.kubernetes.io/default-container": "agent",
            ...unconfined(kubernetes, "install", "agent"),
          },
        },
        spec: podSpec(about),
      },
    },
  });
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
