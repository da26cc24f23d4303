/** The Pods of pcnk, and the directories of the node in them. Pure. */
import { bpffsMountPoint, MOUNTER_VARIABLE } from "../src/bpf/node_bpffs.ts";
import { OWN_CGROUP2 } from "../src/linux/mount.ts";
import { SYSCTL_PREFIX_VARIABLE } from "../src/linux/sysctl.ts";
import { mapCapacities } from "../src/agent/maps/sizes.ts";
import { type MapName, maps } from "../src/bpf/layout.ts";
import { type AgentConfig, settings } from "../src/config/schema.ts";
import { DAEMONSET_VARIABLE, HOST_PREFIX } from "./places.ts";
import { type SetOptions, settingValue } from "./set_options.ts";

/** Name of all objects. */
export const NAME = "pcnk";

/** The folder of the installation's record, beside the state of the reference plugins. */
const CNI_STATE = "/var/lib/cni";

/** The oldest Kubernetes 1.x that takes the objects as they are by default. */
export const OLDEST = 20;

/** What the manifest is made for. */
export interface About {
  set: SetOptions;
  namespace: string;
  image: string;
  /** Minor version of the cluster. */
  kubernetes: number;
}

/** The Pod of the DaemonSet: `pcnk install --no-agent` first, then the agent, and beside it what mounts the node's bpffs. */
export function podSpec(about: About) {
  const { set, namespace } = about;
  const [hostVolumes, onHost] = hostMounts(set);
  const volumes = [...hostVolumes, { name: "config", configMap: { name: NAME } }, tokenVolume];
  const volumeMounts = [...onHost, { name: "config", mountPath: "/etc/pcnk", readOnly: true }];
  const container = { ...containerOf(about), volumeMounts };
  const install = ["pcnk", "install", "--no-agent", "--cni-bin-dir", binDir(set)];
  return {
    serviceAccountName: NAME,
    // The agent alone has a token: tokenVolume.
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    hostNetwork: true,
    dnsPolicy: "Default",
    priorityClassName: "system-node-critical",
    nodeSelector: { "kubernetes.io/os": "linux" },
    affinity: archAffinity(set),
    tolerations: [{ operator: "Exists" }],
    // When the DaemonSet is deleted the agent cleans the node up.
    terminationGracePeriodSeconds: 60,
    initContainers: [{ name: "install", ...container, command: install }],
    containers: [{
      name: "agent",
      ...container,
      volumeMounts: [...volumeMounts, { name: TOKEN, mountPath: TOKEN_DIR, readOnly: true }],
      command: ["pcnk", "agent", "--config", "/etc/pcnk/config.yaml"],
      env: [
        ...container.env,
        { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
        { name: DAEMONSET_VARIABLE, value: `${namespace}/${NAME}` },
        ...apiServerEnv(set.own.get("apiServer")),
      ],
      ...probes(set.settings),
      // No limit of the processor: a throttled agent would repair late.
      resources: {
        requests: { cpu: "100m", memory: "200Mi" },
        limits: { memory: memoryLimit(set) },
      },
    }, bpffsContainer(about)],
    volumes,
  };
}

/** A container that works on the node, without the directories. */
export function containerOf({ set, image, kubernetes }: Omit<About, "namespace">) {
  return {
    image,
    imagePullPolicy: set.own.get("imagePullPolicy") ?? "IfNotPresent",
    securityContext: {
      capabilities: { drop: ["ALL"], add: capabilities(set) },
      readOnlyRootFilesystem: true,
      seccompProfile: { type: "RuntimeDefault" },
      // SELinux has no type for eBPF and files of the node but this one, which privileged containers have, too.
      seLinuxOptions: { type: "spc_t", level: "s0" },
      appArmorProfile: kubernetes >= APPARMOR_SINCE ? { type: "Unconfined" } : undefined,
    },
    env: [
      { name: SYSCTL_PREFIX_VARIABLE, value: HOST_PREFIX },
      { name: MOUNTER_VARIABLE, value: BPFFS },
    ],
  };
}

/** The first Kubernetes 1.x with AppArmor's profile as a field; it takes an annotation over into that, and warns. */
const APPARMOR_SINCE = 30;

/**
 * Annotations of a Pod for AppArmor, whose default profile forbids writing below /sys/fs/bpf.
 * @param containers names of those that do
 */
export function unconfined(kubernetes: number, ...containers: string[]): Record<string, string> {
  if (kubernetes >= APPARMOR_SINCE) return {};
  const prefix = "container.apparmor.security.beta.kubernetes.io";
  return Object.fromEntries(containers.map((name) => [`${prefix}/${name}`, "unconfined"]));
}

/** docs/decisions.md has the reason for each. */
function capabilities({ own, settings }: SetOptions): string[] {
  const [major = 0, minor = 0] = (own.get("kernel") ?? "").split(".").map(Number);
  const old = own.has("kernel") && (major < 5 || major === 5 && minor < 11);
  // Ports that the agent listens at: its own, and those of health checks.
  const ports = [
    settings.get("healthAddress")?.split(":").at(-1),
    settings.get("serviceNodePortRange"),
  ];
  const low = ports.some((port) => parseInt(port ?? "") < 1024);
  return [
    ...["DAC_OVERRIDE", "NET_ADMIN", "NET_RAW", "SYS_ADMIN"],
    ...(low ? ["NET_BIND_SERVICE"] : []),
    ...(old ? ["SYS_RESOURCE"] : []),
  ];
}

/** The name of the container that mounts the node's bpffs, and of the volume. */
const BPFFS = "bpffs";

/**
 * Mounts the node's bpffs, also again when the node loses it: only a privileged container may make a mount that the node sees.
 * It has no token, reads nothing, and listens to nothing. The runtime must mount nothing below a Bidirectional mount, as the
 * node would get it, too: therefore another path than the node's.
 */
function bpffsContainer(about: About) {
  const { set } = about;
  const { image, imagePullPolicy } = containerOf(about);
  const point = bpffsMountPoint(settingValue(set.settings, "bpffs"));
  const mountPath = HOST_PREFIX + parentOf(point);
  return {
    name: BPFFS,
    image,
    imagePullPolicy,
    securityContext: { privileged: true, readOnlyRootFilesystem: true },
    volumeMounts: [{ name: BPFFS, mountPath, mountPropagation: "Bidirectional" }],
    command: ["pcnk", "__bpffs", HOST_PREFIX + point],
    resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "256Mi" } },
  };
}

const parentOf = (path: string) => path.replace(/\/[^/]+\/?$/, "") || "/";

const TOKEN = "token";
const TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * What the kubelet would mount by itself, with a token that ends: one that was stolen is of use for an hour, and only while
 * the Pod is there. The kubelet renews it, and the agent reads it anew for each request.
 */
const tokenVolume = {
  name: TOKEN,
  projected: {
    defaultMode: 0o400,
    sources: [
      { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
    ],
  },
};

/** Bytes for an agent: four times the most that was measured, with 5,000 nodes. */
const AGENT_BYTES = 2 ** 30;

/** Bytes for each backend that there is room for; 1,340 were measured (docs/benchmarks.md). */
const BACKEND_BYTES = 2048;

/** Bytes of an entry in a map beside its key and value, at most. */
const ENTRY_OVERHEAD = 64;

/**
 * A limit for an agent that has lost control of its memory, not for one with much to do. The kernel also counts the maps
 * that it creates, twice while an upgrade converts them.
 */
function memoryLimit({ settings: given }: SetOptions): string {
  const sizes = Object.fromEntries(
    settings.filter(({ key }) => key.startsWith("mapSizes.")).map(({ key, fallback, kind }) => {
      const text = given.get(key);
      return [key.slice("mapSizes.".length), text === undefined ? fallback : kind.parse(text)];
    }),
  ) as unknown as AgentConfig["mapSizes"];
  const bytes = Object.entries(mapCapacities(sizes)).map(([name, entries]) => {
    const { key, value } = maps[name as MapName];
    return entries * (key.size + value.size + ENTRY_OVERHEAD);
  }).reduce((sum, one) => sum + one, 0);
  const step = 256;
  const all = AGENT_BYTES + BACKEND_BYTES * sizes.backends + 2 * bytes;
  return `${Math.ceil(all / 2 ** 20 / step) * step}Mi`;
}

/** Nodes of the architectures that the image has; that of this executable, where nothing else is set. */
function archAffinity(set: SetOptions) {
  const own = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  const values = (set.own.get("arch") ?? own).split(",");
  const matchExpressions = [{ key: "kubernetes.io/arch", operator: "In", values }];
  const terms = { nodeSelectorTerms: [{ matchExpressions }] };
  return { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } };
}

/**
 * Probes at the agent's loopback address. It is alive also without the API server, which a restart would not bring back. The
 * startup probe leaves time for the first comparison with large maps.
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

/** For clusters where only pcnk serves the API server's ClusterIP: another address of it. */
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
  readOnly?: true;
  mountPropagation?: string;
}

/** Directories of the node that the pod needs, under the same paths, so that settings and records mean the same inside. */
export function hostMounts(set: SetOptions): [volumes: unknown[], volumeMounts: unknown[]] {
  const setting = (key: string) => settingValue(set.settings, key);
  const host: HostMount[] = [
    // The folder of the mount point: what the node mounts and unmounts there is seen here, too, and as writable as there.
    {
      name: BPFFS,
      path: parentOf(bpffsMountPoint(setting("bpffs"))),
      readOnly: true,
      mountPropagation: "HostToContainer",
    },
    // An attachment takes a descriptor of the directory, and writes nothing.
    { name: "cgroup", path: setting("cgroup"), type: "Directory", readOnly: true },
    {
      name: "sysctl",
      path: "/proc/sys/net",
      mountPath: `${HOST_PREFIX}/proc/sys/net`,
      type: "Directory",
    },
    { name: "state", path: setting("stateDir") },
    { name: "cni-bin", path: binDir(set) },
    { name: "cni-conf", path: set.settings.get("cniConfDir") ?? "/etc/cni/net.d" },
    { name: "cni-state", path: CNI_STATE },
  ];
  if (setting("socketLB") === "all") {
    // The agent looks for sockets in the pods' network namespaces, which the runtime mounts here.
    const mountPropagation = "HostToContainer";
    host.push({ name: "netns", path: "/run/netns", readOnly: true, mountPropagation });
  }
  const volumes: unknown[] = host.map(({ name, path, type = "DirectoryOrCreate" }) => ({
    name,
    hostPath: { path, type },
  }));
  const volumeMounts = host.map(({ name, path, mountPath = path, readOnly, mountPropagation }) => ({
    name,
    mountPath,
    readOnly,
    mountPropagation,
  }));
  // The root file system is read-only: for sockets of a proxied API server, and where cgroup v2 is mounted beside v1.
  volumes.push({ name: "tmp", emptyDir: { medium: "Memory", sizeLimit: "16Mi" } });
  const writable = [
    { name: "tmp", mountPath: "/tmp" },
    { name: "tmp", mountPath: OWN_CGROUP2, subPath: "cgroup2" },
  ];
  return [volumes, [...volumeMounts, ...writable]];
}

/** Host and port of `[https://]HOST[:PORT]`, port 6443 by default; undefined when it is none. */
export function hostAndPort(value: string): { host: string; port: string } | undefined {
  const [, host, port = "6443"] =
    /^(?:https:\/\/)?([A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d{1,5}))?\/?$/.exec(value) ?? [];
  return host === undefined || Number(port) > 65535 || Number(port) < 1
    ? undefined
    : { host, port };
}
