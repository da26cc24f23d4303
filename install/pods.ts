/** The Pods of pcnk, and the directories of the node in them. Pure. */
import { bpffsMountPoint, HOST_PREFIX_VARIABLE } from "../src/bpf/node_bpffs.ts";
import { mapCapacities } from "../src/agent/maps/sizes.ts";
import { type MapName, maps } from "../src/bpf/layout.ts";
import { type AgentConfig, settings } from "../src/config/schema.ts";
import { DAEMONSET_VARIABLE, HOST_PREFIX } from "./places.ts";
import { type SetOptions, settingValue } from "./set_options.ts";

/** Name of all objects. */
export const NAME = "pcnk";

/** The folder of the installation's record, beside the state of the reference plugins. */
const CNI_STATE = "/var/lib/cni";

/** What the manifest is made for. */
export interface About {
  set: SetOptions;
  namespace: string;
  image: string;
}

/** The Pod of the DaemonSet: `pcnk install --no-agent` first, then the agent. */
export function podSpec({ set, namespace, image }: About) {
  const imagePullPolicy = set.own.get("imagePullPolicy") ?? "IfNotPresent";
  const [hostVolumes, onHost] = hostMounts(set);
  const volumes = [...hostVolumes, { name: "config", configMap: { name: NAME } }, tokenVolume];
  const volumeMounts = [...onHost, { name: "config", mountPath: "/etc/pcnk", readOnly: true }];
  const env = [
    { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
    { name: DAEMONSET_VARIABLE, value: `${namespace}/${NAME}` },
    { name: HOST_PREFIX_VARIABLE, value: HOST_PREFIX },
    ...apiServerEnv(set.own.get("apiServer")),
  ];
  const container = {
    image,
    imagePullPolicy,
    // For a mount that the node must see (bpffs), kernel parameters and eBPF programs.
    securityContext: { privileged: true },
    volumeMounts,
  };
  const install = ["pcnk", "install", "--no-agent", "--cni-bin-dir", binDir(set)];
  return {
    serviceAccountName: NAME,
    // The agent alone has a token: tokenVolume.
    automountServiceAccountToken: false,
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
      env,
      ...probes(set.settings),
      // No limit of the processor: a throttled agent would repair late.
      resources: {
        requests: { cpu: "100m", memory: "200Mi" },
        limits: { memory: memoryLimit(set) },
      },
    }],
    volumes,
  };
}

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

/** Bytes that the agent takes with the largest cluster that was measured, times eight. */
const AGENT_BYTES = 2 ** 31;

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
  return `${Math.ceil((AGENT_BYTES + 2 * bytes) / 2 ** 20 / step) * step}Mi`;
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
  propagation?: string;
}

/** Directories of the node that the pod needs, under the same paths, so that settings and records mean the same inside. */
export function hostMounts(set: SetOptions): [volumes: unknown[], volumeMounts: unknown[]] {
  const setting = (key: string) => settingValue(set.settings, key);
  const bpffs = bpffsMountPoint(setting("bpffs"));
  const host: HostMount[] = [
    // A bpffs that the agent mounts must be the node's, and outlive the pod.
    { name: "bpffs", path: bpffs, propagation: "Bidirectional" },
    { name: "cgroup", path: setting("cgroup"), type: "Directory" },
    { name: "state", path: setting("stateDir") },
    { name: "cni-bin", path: binDir(set) },
    { name: "cni-conf", path: set.settings.get("cniConfDir") ?? "/etc/cni/net.d" },
    { name: "cni-state", path: CNI_STATE },
  ];
  if (setting("socketLB") === "all") {
    // The agent looks for sockets in the pods' network namespaces, which the runtime mounts here.
    host.push({ name: "netns", path: "/run/netns", propagation: "HostToContainer" });
  }
  host.push(...outerMounts(setting("stateDir"), bpffs));
  const volumes = host.map(({ name, path, type = "DirectoryOrCreate" }) => ({
    name,
    hostPath: { path, type },
  }));
  const volumeMounts = host.map(({ name, path, mountPath = path, propagation }) => ({
    name,
    mountPath,
    mountPropagation: propagation,
  }));
  return [volumes, volumeMounts];
}

/** Parents of mount points, at other paths: a container neither removes its own mount points nor sees the node unmount them. */
function outerMounts(stateDir: string, bpffs: string): HostMount[] {
  const parentOf = (path: string) => path.replace(/\/[^/]+\/?$/, "") || "/";
  const [ofState, ofBpffs] = [parentOf(stateDir), parentOf(bpffs)];
  const at = (name: string, path: string, propagation: string): HostMount => ({
    name,
    path,
    mountPath: HOST_PREFIX + path,
    propagation,
  });
  // Where the node unmounts its bpffs, the agent mounts one that the node sees.
  const both = at("host-bpffs", ofBpffs, "Bidirectional");
  // What a container runtime mounts below that one, the node would see, too.
  if (`${ofState}/`.startsWith(ofBpffs === "/" ? "/" : `${ofBpffs}/`)) return [both];
  // Otherwise what the node unmounts below it stays mounted in the container.
  return [at("host", ofState, "HostToContainer"), both];
}

/** Host and port of `[https://]HOST[:PORT]`, port 6443 by default; undefined when it is none. */
export function hostAndPort(value: string): { host: string; port: string } | undefined {
  const [, host, port = "6443"] =
    /^(?:https:\/\/)?([A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d{1,5}))?\/?$/.exec(value) ?? [];
  return host === undefined || Number(port) > 65535 || Number(port) < 1
    ? undefined
    : { host, port };
}
