/**
 * pcnk as objects of Kubernetes: what `pcnk manifest` prints. Pure.
 *
 * Fields that Kubernetes 1.20 and later have; no feature gate is asked for.
 */
import { stringify } from "yaml";
import { createHash } from "node:crypto";
import { clusterRules, eventNamespace, eventRules } from "../src/cluster/kube/rbac.ts";
import { DAEMONSET_VARIABLE, HOST_PREFIX } from "./places.ts";
import { namespaceRules } from "./rbac.ts";
import {
  absolutePath,
  type SetOptions,
  type SetRules,
  settingsTree,
  settingValue,
} from "./set_options.ts";

/** Name of all objects. */
export const NAME = "pcnk";

/** The record of what was put onto a node lies here, beside what the reference plugins keep. */
const CNI_STATE = "/var/lib/cni";

const LABELS = { "app.kubernetes.io/name": NAME };

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

function hostAndPort(value: string): { host: string; port: string } | undefined {
  const [, host, port = "6443"] =
    /^(?:https:\/\/)?([A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d{1,5}))?\/?$/.exec(value) ?? [];
  return host === undefined || Number(port) > 65535 || Number(port) < 1
    ? undefined
    : { host, port };
}

/** All objects, in the order in which they are to be made. */
export function manifest(set: SetOptions, version: string): KubeObject[] {
  const own = (key: string, fallback: string) => set.own.get(key) ?? fallback;
  const namespace = own("namespace", "kube-system");
  const config = configFile(set);
  const about = { set, namespace, image: own("image", `localhost/pcnk:${version}`) };
  return [
    ...(namespace === "kube-system" ? [] : [namespaceObject(namespace)]),
    ...[object("v1", "ServiceAccount", namespace, {}), ...access(namespace)].map(markAccess),
    object("v1", "ConfigMap", namespace, { data: { "config.yaml": config } }),
    daemonSet(about, config),
  ];
}

/** The objects as one YAML stream. */
export function renderManifest(
  objects: readonly KubeObject[],
  version: string,
  what = "kubectl apply -f this, or kubectl delete -f this, which cleans the nodes up too",
): string {
  return `# pcnk ${version}: ${what}.\n` +
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
  const metadata = {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    labels: LABELS,
  };
  return { apiVersion, kind, metadata, ...rest };
}

/** Pod security admission (1.23) must let a privileged pod in. */
function namespaceObject(name: string): KubeObject {
  const labels = { ...LABELS, "pod-security.kubernetes.io/enforce": "privileged" };
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

/** Who agents are, apart from how they run: kubectl apply -l pcnk.io/part=access. */
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
    object(group, "Role", namespace, { rules: namespaceRules(NAME) }),
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

interface About {
  set: SetOptions;
  namespace: string;
  image: string;
}

function daemonSet(about: About, config: string): KubeObject {
  const { namespace } = about;
  return object("apps/v1", "DaemonSet", namespace, {
    spec: {
      selector: { matchLabels: LABELS },
      // An agent that is away for a moment is not missed by any packet.
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "10%" } },
      template: {
        metadata: {
          labels: LABELS,
          // Changed settings start the agents anew.
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

function podSpec({ set, namespace, image }: About) {
  const imagePullPolicy = set.own.get("imagePullPolicy") ?? "IfNotPresent";
  const [hostVolumes, onHost] = hostMounts(set);
  const volumes = [...hostVolumes, { name: "config", configMap: { name: NAME } }];
  const volumeMounts = [...onHost, { name: "config", mountPath: "/etc/pcnk", readOnly: true }];
  const env = [
    { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
    { name: DAEMONSET_VARIABLE, value: `${namespace}/${NAME}` },
    ...apiServerEnv(set.own.get("apiServer")),
  ];
  const container = {
    image,
    imagePullPolicy,
    // Mounts that the node must see (bpffs), kernel parameters, programs: anything less fails at one of them.
    securityContext: { privileged: true },
    volumeMounts,
  };
  const install = ["pcnk", "install", "--no-agent", "--cni-bin-dir", binDir(set)];
  return {
    serviceAccountName: NAME,
    hostNetwork: true,
    dnsPolicy: "Default",
    priorityClassName: "system-node-critical",
    nodeSelector: { "kubernetes.io/os": "linux" },
    tolerations: [{ operator: "Exists" }],
    // At the end of a removal the agent takes away what is on the node.
    terminationGracePeriodSeconds: 60,
    initContainers: [{ name: "install", ...container, command: install }],
    containers: [{
      name: "agent",
      ...container,
      command: ["pcnk", "agent", "--config", "/etc/pcnk/config.yaml"],
      env,
      ...probes(set.settings),
      resources: { requests: { cpu: "100m", memory: "200Mi" } },
    }],
    volumes,
  };
}

/**
 * On the agent's loopback address. Alive: also while the API server is away, since a restart would not bring that back. A
 * first comparison with large maps may take its time before that.
 */
function probes(settings: ReadonlyMap<string, string>) {
  const [, host, port] = /^(.*):(\d+)$/.exec(settingValue(settings, "healthAddress")) ?? [];
  if (port === undefined) return {}; // off
  const probe = (path: string, rest: Record<string, number>) => ({
    httpGet: { host: host?.replace(/^\[|\]$/g, ""), port: Number(port), path },
    timeoutSeconds: 5,
    ...rest,
  });
  return {
    startupProbe: probe("/livez", { periodSeconds: 2, failureThreshold: 60 }),
    livenessProbe: probe("/livez", { periodSeconds: 10, failureThreshold: 6 }),
    readinessProbe: probe("/readyz", { periodSeconds: 5 }),
  };
}

/** Where nothing serves the cluster's own address of the API server before pcnk does, it needs another one. */
function apiServerEnv(apiServer: string | undefined) {
  const at = apiServer === undefined ? undefined : hostAndPort(apiServer);
  return at === undefined ? [] : [
    { name: "KUBERNETES_SERVICE_HOST", value: at.host },
    { name: "KUBERNETES_SERVICE_PORT", value: at.port },
  ];
}

function binDir({ own }: SetOptions): string {
  return own.get("cniBinDir") ?? "/opt/cni/bin";
}

/** A directory of the node in the pod. */
interface HostMount {
  name: string;
  path: string;
  /** The same path when left out. */
  mountPath?: string;
  type?: string;
  propagation?: string;
}

/** Every path is the same inside and outside, so that all settings and records mean the same. */
export function hostMounts(set: SetOptions): [volumes: unknown[], volumeMounts: unknown[]] {
  const setting = (key: string) => settingValue(set.settings, key);
  const bpffs = setting("bpffs");
  const inSystem = bpffs.startsWith("/sys/fs/bpf/") || bpffs === "/sys/fs/bpf";
  const host: HostMount[] = [
    // A bpffs that the agent mounts must be the node's, and outlive the pod.
    { name: "bpffs", path: inSystem ? "/sys/fs/bpf" : bpffs, propagation: "Bidirectional" },
    { name: "cgroup", path: setting("cgroup"), type: "Directory" },
    { name: "state", path: setting("stateDir") },
    { name: "cni-bin", path: binDir(set) },
    { name: "cni-conf", path: set.settings.get("cniConfDir") ?? "/etc/cni/net.d" },
    { name: "cni-state", path: CNI_STATE },
  ];
  if (setting("socketLB") === "all") {
    // Sockets of pods are found in their network namespaces, which the runtime mounts here while the agent runs.
    host.push({ name: "netns", path: "/run/netns", propagation: "HostToContainer" });
  }
  // A container cannot remove what is mounted in it: so the state directory's parent once more, elsewhere.
  const outer = setting("stateDir").replace(/\/[^/]+\/?$/, "") || "/";
  host.push({
    name: "host",
    path: outer,
    mountPath: HOST_PREFIX + outer,
    // Or what the node unmounts below it would stay mounted, and busy, in here.
    propagation: "HostToContainer",
  });
  const volumes = host.map(({ name, path, type = "DirectoryOrCreate" }) => ({
    name,
    hostPath: { path, type },
  }));
  const volumeMounts = host.map(({ name, path, mountPath = path, propagation }) => ({
    name,
    mountPath,
    ...(propagation === undefined ? {} : { mountPropagation: propagation }),
  }));
  return [volumes, volumeMounts];
}
