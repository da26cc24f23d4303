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
  /** Names, or patterns with * and ?. Undefined: found, see src/agent/network/uplink_rule.ts. */
  uplink?: string[];
  bpffs: string;
  stateDir: string;
  /** Undefined: /etc/cni/net.d when objects come from the Kubernetes API, else no file is written. */
  cniConfDir?: string;
  /** Undefined: the folder that the record of `pcnk install` names; without one plugins are not looked at. */
  cniBinDir?: string;
  /** `off`, or where health is served. */
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
  podEgress: "uplink" | "stack";
  sourceCheck: "strict" | "annotated" | "off";
  uplinkCheck: "strict" | "off";
  podWeights: "labelled" | "off";
  podMulticast: "off" | "on";
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
  externalIPs: "off" | "owners" | "on";
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
    /** Without effect, see the table. */
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
  /** What one pod or address outside may have, in per cent. */
  shares: { sessions: number; snatPorts: number };
}

/** Every setting of the agent, in the order of the help text. */
export const settings: readonly Setting[] = [
  setting(
    "nodeName",
    name,
    () => Deno.env.get("NODE_NAME") || hostname().toLowerCase(),
    "Name of this node in the cluster",
    "the variable NODE_NAME, or the host's name",
  ),
  setting(
    "uplink",
    devices,
    undefined,
    "Devices to other nodes and the world, by name or pattern (eth*)",
    "those with a default route or the node's InternalIP, and NICs with an address",
  ),
  setting(
    "manifests",
    anyPath,
    undefined,
    "Read Kubernetes objects (*.yaml, *.yml, *.json) from DIR, and watch it",
    "none",
  ),
  setting(
    "kubeconfig",
    file,
    undefined,
    "Follow the API server of this kubeconfig",
    "the Pod's credentials, in a Pod without --manifests",
  ),
  setting(
    "bpffs",
    path,
    "/sys/fs/bpf/pcnk",
    "Pin maps and programs in DIR; mount a bpffs there if there is none",
  ),
  setting(
    "stateDir",
    path,
    "/run/pcnk",
    "Keep the node's state in DIR: attachments of pods, the agent's lock",
  ),
  setting(
    "cniConfDir",
    path,
    undefined,
    "Write 10-pcnk.conflist to DIR",
    "/etc/cni/net.d with the Kubernetes API, else none",
  ),
  setting(
    "cniBinDir",
    path,
    undefined,
    "Keep the CNI plugins in DIR: pcnk itself, and those that are found in another folder",
    "where pcnk install put pcnk, else none",
  ),
  setting(
    "healthAddress",
    listenAddress,
    "127.0.0.1:9879",
    "Serve /healthz, /readyz, /livez and /metrics here, or off",
  ),
  setting(
    "ui",
    yesOrNo,
    false,
    "Serve the page of pcnk ui at healthAddress, below /ui/, for this node only, with the token of agent.json",
  ),
  setting(
    "cgroup",
    path,
    "/sys/fs/cgroup",
    "Cgroup v2 of the node's own processes, or a directory above its mount",
  ),
  setting("bridge", device, "pcnk0", "Bridge of the pods; may appear later"),
  setting(
    "attach",
    choice("MODE", "auto", "tcx", "clsact"),
    "auto",
    "Attach programs as TCX links, as clsact filters, or as the kernel allows",
  ),
  live(setting(
    "routing",
    choice("MODE", "overlay", "direct"),
    "overlay",
    "Reach pods of other nodes through the overlay, or directly if both nodes ask for it and share a subnet",
  )),
  setting("overlay.device", device, "pcnk_vxlan", "Name of the VXLAN device"),
  everywhere(
    setting("overlay.vni", entries(1, 0xffffff, "VNI"), 42, "VXLAN network identifier (VNI)"),
  ),
  everywhere(setting("overlay.port", entries(1, 65535, "PORT"), 4789, "UDP port of the tunnel")),
  live(setting(
    "overlay.checksumOffload",
    yesOrNo,
    true,
    "Leave checksums inside the tunnel to the device; false if it computes them wrong",
  )),
  setting(
    "mtu",
    entries(576, 65535, "BYTES"),
    undefined,
    "MTU of pods, in bytes",
    "the uplink's, less 50 for the overlay",
  ),
  live(setting(
    "masquerade",
    yesOrNo,
    true,
    "Masquerade packets of pods that leave the cluster",
  )),
  live(setting(
    "podEgress",
    choice("PATH", "uplink", "stack"),
    "uplink",
    "Send pods' packets to the world out of the uplink past the node's netfilter, or by its stack",
  )),
  live(setting(
    "sourceCheck",
    choice("MODE", "strict", "annotated", "off"),
    "strict",
    "Drop what pods send from other addresses than their own: of all pods, of those without the " +
      'annotation pcnk.io/source-check: "off", or of none',
  )),
  live(setting(
    "uplinkCheck",
    choice("MODE", "strict", "off"),
    "strict",
    "Drop what comes in by an uplink from addresses that nothing has there: of pods behind the overlay, " +
      "of this node and its pods, of Services; off while nodes change routing one by one",
  )),
  setting(
    "podWeights",
    choice("MODE", "labelled", "off"),
    "labelled",
    "Follow Pods with the label pcnk.io/weight, or none: without the right to read Pods",
  ),
  live(setting(
    "podMulticast",
    choice("MODE", "off", "on"),
    "off",
    "Let multicast and broadcast of a pod reach the other pods of its node, or the node alone",
  )),
  live(setting(
    "nonMasqueradeCIDRs",
    prefixes,
    [],
    "Do not masquerade to these destinations, beside all podCIDRs",
  )),
  live(
    setting("snatPorts", portRange, { first: 1024, last: 29999 }, "Source ports for masquerading"),
  ),
  setting(
    "socketLB",
    choice("MODE", "host", "all", "off"),
    "host",
    "Translate Services at connect() for host processes, for pods too, or not",
  ),
  everywhere(setting(
    "lbAlgorithm",
    choice("NAME", "random", "maglev"),
    "random",
    "Pick backends at random, or by Maglev: the same one for a client on every node",
  )),
  everywhere(setting(
    "externalIPs",
    choice("WHICH", "off", "owners", "on"),
    "owners",
    "Serve externalIPs of Services: none, those that are no address of a node, a pod or the API server, or all",
  )),
  everywhere(setting(
    "serviceNodePortRange",
    portRange,
    { first: 30000, last: 32767 },
    "The API server's --service-node-port-range; must not overlap snatPorts",
  )),
  retired(
    setting(
      "serviceClusterIPRange",
      prefix,
      undefined,
      "No effect: the API server's --service-cluster-ip-range",
    ),
    "every Service's address is known from the Service itself",
  ),
  retired(
    setting("vtepsRange", prefix, undefined, "No effect: range of the tunnel's own addresses"),
    "a node's end of the tunnel has the first address of its podCIDR",
  ),
  setting(
    "etcd_url",
    urls,
    undefined,
    "Read per-node settings from these etcd v3 servers, below /nodes/NODE/",
    "none; annotations of Nodes only",
  ),
  setting("etcd.ca", file, undefined, "CA certificate of etcd's servers, PEM", "the system's"),
  setting("etcd.cert", file, undefined, "Client certificate for etcd, PEM"),
  setting("etcd.key", file, undefined, "Key of the client certificate, PEM"),
  setting("etcd.username", text("NAME", /^\S+$/, "a user's name"), undefined, "User of etcd"),
  setting("etcd.passwordFile", file, undefined, "Read the password of the user from FILE"),
  live(
    setting(
      "logLevel",
      logLevels,
      "info",
      "Log from this level on: trace, debug, info, warn, error or silent",
    ),
  ),
  setting("resync", seconds, 300, "Time between full syncs of the maps"),
  setting(
    "mapSizes.services",
    entries(16, 1 << 24),
    65536,
    "Capacity: addresses and ports of Services",
  ),
  setting(
    "mapSizes.backends",
    entries(16, 1 << 26),
    524288,
    "Capacity: backends; a change needs room for old and new ones",
  ),
  setting(
    "mapSizes.sessions",
    entries(1024, 1 << 26),
    262144,
    "Capacity: sessions, two a flow; the oldest are evicted, connections in use last",
  ),
  setting("mapSizes.endpoints", entries(16, 1 << 20), 4096, "Capacity: local pods"),
  setting(
    "mapSizes.sourceRanges",
    entries(16, 1 << 22),
    65536,
    "Capacity: prefixes of loadBalancerSourceRanges",
  ),
  setting(
    "mapSizes.maglev",
    entries(1, 65536),
    1024,
    "Capacity: Service ports with Maglev, 2 KB each",
  ),
  setting(
    "mapSizes.affinity",
    entries(1024, 1 << 24),
    65536,
    "Capacity: clients of Services with affinity; the oldest are evicted",
  ),
  setting(
    "mapSizes.fragments",
    entries(64, 1 << 20),
    8192,
    "No effect any more: each source of fragments has its share of a fixed table",
  ),
  setting(
    "mapSizes.nodes",
    entries(16, 1 << 20),
    16384,
    "Capacity: podCIDRs and addresses of nodes",
  ),
  live(setting("timeouts.tcpNew", seconds, 60, "Expire TCP connections idle in the handshake")),
  live(setting("timeouts.tcpEstablished", seconds, 432000, "Expire idle TCP connections")),
  live(
    setting("timeouts.tcpClosing", seconds, 3600, "Expire half-closed TCP connections"),
  ),
  live(
    setting(
      "timeouts.tcpClosed",
      seconds,
      120,
      "Expire TCP connections closed by both ends (TIME-WAIT)",
    ),
  ),
  live(setting("timeouts.udp", seconds, 120, "Expire idle UDP flows")),
  live(setting("timeouts.icmp", seconds, 120, "Expire idle ICMP flows")),
  live(setting(
    "shares.sessions",
    entries(1, 100, "PERCENT"),
    50,
    "Share of the sessions that one pod or address outside may have; above it its oldest are replaced",
  )),
  live(setting(
    "shares.snatPorts",
    entries(1, 100, "PERCENT"),
    75,
    "Share of snatPorts that one pod or address outside may have to one destination",
  )),
] as Setting[];
