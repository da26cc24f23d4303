/**
 * The agent's settings: one table, from which come the flags, the keys of the configuration file, their defaults, their
 * checks, and the help text.
 */
import { hostname } from "node:os";
import {
  anyPath,
  choice,
  device,
  devices,
  entries,
  file,
  listenAddress,
  logLevels,
  name,
  path,
  type PortRange,
  portRange,
  prefix,
  prefixes,
  seconds,
  text,
  urls,
  yesOrNo,
} from "./kinds.ts";
import { everywhere, live, retired, type Setting, setting } from "./setting.ts";

/** How etcd is talked to; paths of files. */
interface EtcdConfig {
  ca?: string;
  cert?: string;
  key?: string;
  username?: string;
  passwordFile?: string;
}

/** Settings after defaults, file and flags. Lengths of time in seconds. */
export interface AgentConfig {
  nodeName: string;
  /** Undefined: the devices of default routes, and of the node's InternalIPs. */
  uplink?: string[];
  bpffs: string;
  stateDir: string;
  /** Undefined: /etc/cni/net.d when objects come from the Kubernetes API, else no file is written. */
  cniConfDir?: string;
  /** `off`, or where health is told. */
  healthAddress: string;
  /** The page is served there too. */
  ui: boolean;
  cgroup: string;
  manifests?: string;
  /** Undefined: the pod's own credentials, when this is a pod and there are no manifests. */
  kubeconfig?: string;
  bridge: string;
  attach: "auto" | "tcx" | "clsact";
  /** The node's wish: direct routes to nodes of its subnet that wish them too, or the overlay to all. */
  routing: "overlay" | "direct";
  overlay: { device: string; vni: number; port: number; checksumOffload: boolean };
  /** Bytes a pod's packet may have; undefined: found from the uplink. */
  mtu?: number;
  masquerade: boolean;
  /** Beside the podCIDRs of all nodes. */
  nonMasqueradeCIDRs: string[];
  snatPorts: PortRange;
  socketLB: "host" | "all" | "off";
  serviceNodePortRange: PortRange;
  /** Without effect, see the table. */
  serviceClusterIPRange?: string;
  /** Without effect, see the table. */
  vtepsRange?: string;
  /** Base URLs; undefined: per-node settings come from annotations. */
  etcd_url?: string[];
  etcd?: EtcdConfig;
  /** Of Services without the annotation `pcnk.io/lb-algorithm`. */
  lbAlgorithm: "random" | "maglev";
  logLevel: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  resync: number;
  mapSizes: {
    services: number;
    backends: number;
    sessions: number;
    endpoints: number;
    sourceRanges: number;
    /** Tables; one is 2 KB. */
    maglev: number;
    affinity: number;
    fragments: number;
    nodes: number;
  };
  timeouts: {
    tcpNew: number;
    tcpEstablished: number;
    tcpClosing: number;
    tcpClosed: number;
    udp: number;
    icmp: number;
  };
}

/** Every setting of the agent, in the order of the help text. */
export const settings: readonly Setting[] = [
  setting(
    "nodeName",
    name,
    () => Deno.env.get("NODE_NAME") || hostname().toLowerCase(),
    "this node's name in the cluster",
    "the variable NODE_NAME, or the host's name",
  ),
  setting(
    "uplink",
    devices,
    undefined,
    "devices to the other nodes and the world",
    "those of default routes and of the node's InternalIP",
  ),
  setting(
    "manifests",
    anyPath,
    undefined,
    "directory of Kubernetes objects (*.yaml, *.yml, *.json) to serve; watched",
    "none",
  ),
  setting(
    "kubeconfig",
    file,
    undefined,
    "kubeconfig of the Kubernetes API server to follow",
    "the pod's own credentials where this is a pod and no manifests are given",
  ),
  setting(
    "bpffs",
    path,
    "/sys/fs/bpf/pcnk",
    "where maps and programs are pinned; a bpffs is mounted if none is there",
  ),
  setting("stateDir", path, "/run/pcnk", "the node's state: attachments of pods, the agent's lock"),
  setting(
    "cniConfDir",
    path,
    undefined,
    "where 10-pcnk.conflist is written",
    "/etc/cni/net.d with the Kubernetes API, else none",
  ),
  setting(
    "healthAddress",
    listenAddress,
    "127.0.0.1:9879",
    "where /healthz, /readyz and /livez are answered, or off",
  ),
  setting(
    "ui",
    yesOrNo,
    false,
    "serve a page at healthAddress too, below /ui/: to this node alone, who opens it needs the token of agent.json",
  ),
  setting("cgroup", path, "/sys/fs/cgroup", "cgroup v2 whose processes are the node's own"),
  setting("bridge", device, "pcnk0", "bridge of the pods; awaited if it is not there yet"),
  setting(
    "attach",
    choice("auto", "tcx", "clsact"),
    "auto",
    "how programs are attached: auto, tcx or clsact",
  ),
  live(setting(
    "routing",
    choice("overlay", "direct"),
    "overlay",
    "how to reach other nodes' pods: through the overlay, or directly where both nodes want that and share a subnet",
  )),
  setting("overlay.device", device, "pcnk_vxlan", "name of the VXLAN device"),
  everywhere(setting("overlay.vni", entries(1, 0xffffff), 42, "VXLAN network identifier")),
  everywhere(setting("overlay.port", entries(1, 65535), 4789, "UDP port of the tunnel")),
  live(setting(
    "overlay.checksumOffload",
    yesOrNo,
    true,
    "leave checksums of what is in the tunnel to the device; false for one that gets them wrong",
  )),
  setting(
    "mtu",
    entries(576, 65535),
    undefined,
    "bytes a pod's packet may have",
    "the uplink's, less 50 for the overlay",
  ),
  live(setting(
    "masquerade",
    yesOrNo,
    true,
    "give pods' traffic that leaves the cluster the node's address",
  )),
  live(setting(
    "nonMasqueradeCIDRs",
    prefixes,
    [],
    "where it keeps the pod's address, beside all podCIDRs",
  )),
  live(setting("snatPorts", portRange, { first: 1024, last: 29999 }, "source ports for that")),
  setting(
    "socketLB",
    choice("host", "all", "off"),
    "host",
    "services at connect(): for the node's own processes, for pods too, or off",
  ),
  everywhere(setting(
    "lbAlgorithm",
    choice("random", "maglev"),
    "random",
    "how a service picks a backend: at random, or the same one for a client on every node",
  )),
  everywhere(setting(
    "serviceNodePortRange",
    portRange,
    { first: 30000, last: 32767 },
    "the API server's --service-node-port-range; snatPorts must keep out of it",
  )),
  retired(
    setting(
      "serviceClusterIPRange",
      prefix,
      undefined,
      "the API server's --service-cluster-ip-range",
    ),
    "every Service's address is known from the Service itself",
  ),
  retired(
    setting("vtepsRange", prefix, undefined, "range of the tunnel's own addresses"),
    "a node's end of the tunnel has the first address of its podCIDR",
  ),
  setting(
    "etcd_url",
    urls,
    undefined,
    "etcd servers (v3) with per-node settings under /nodes/<node>/",
    "none: annotations of Node objects",
  ),
  setting("etcd.ca", file, undefined, "CA certificate of etcd's servers, PEM", "the system's"),
  setting("etcd.cert", file, undefined, "client certificate for etcd, PEM"),
  setting("etcd.key", file, undefined, "its key, PEM"),
  setting("etcd.username", text("NAME", /^\S+$/, "a user's name"), undefined, "user of etcd"),
  setting("etcd.passwordFile", file, undefined, "file with that user's password"),
  live(setting("logLevel", logLevels, "info", "trace, debug, info, warn, error or silent")),
  setting("resync", seconds, 300, "time between full comparisons with the kernel's maps"),
  setting(
    "mapSizes.services",
    entries(16, 1 << 24),
    65536,
    "capacity for service addresses and ports",
  ),
  setting(
    "mapSizes.backends",
    entries(16, 1 << 26),
    524288,
    "capacity for backends; a change needs room for old and new ones",
  ),
  setting(
    "mapSizes.sessions",
    entries(1024, 1 << 26),
    262144,
    "capacity for sessions, two a flow; the oldest make room",
  ),
  setting("mapSizes.endpoints", entries(16, 1 << 20), 4096, "capacity for pods of this node"),
  setting(
    "mapSizes.sourceRanges",
    entries(16, 1 << 22),
    65536,
    "capacity for prefixes of loadBalancerSourceRanges",
  ),
  setting(
    "mapSizes.maglev",
    entries(1, 65536),
    1024,
    "capacity for service ports with Maglev, 2 KB each",
  ),
  setting(
    "mapSizes.affinity",
    entries(1024, 1 << 24),
    65536,
    "capacity for clients of services with affinity; the oldest make room",
  ),
  setting(
    "mapSizes.fragments",
    entries(64, 1 << 20),
    8192,
    "capacity for datagrams in fragments; the oldest make room",
  ),
  setting(
    "mapSizes.nodes",
    entries(16, 1 << 20),
    16384,
    "capacity for podCIDRs and addresses of nodes",
  ),
  live(setting("timeouts.tcpNew", seconds, 60, "idle TCP connection before its handshake is over")),
  live(setting("timeouts.tcpEstablished", seconds, 86400, "idle TCP connection")),
  live(
    setting("timeouts.tcpClosing", seconds, 3600, "idle TCP connection that one side has closed"),
  ),
  live(setting("timeouts.tcpClosed", seconds, 120, "TCP connection that both sides have closed")),
  live(setting("timeouts.udp", seconds, 120, "idle UDP flow")),
  live(setting("timeouts.icmp", seconds, 120, "idle ICMP flow")),
] as Setting[];
