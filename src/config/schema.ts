/**
 * The agent's settings: one table, from which come the flags, the keys of the configuration file, their defaults, their
 * checks, and the help text.
 */
import { hostname } from "node:os";
import { parsePrefix } from "../model/prefix.ts";
import { formatDuration, parseDuration } from "./duration.ts";

/** How a setting is written and checked. */
export interface Kind<T> {
  /** Stands for the value in help texts. */
  placeholder: string;
  /** The checked value. @throws Error telling what is expected */
  parse(value: unknown): T;
  /** For help texts. */
  format(value: T): string;
}

export interface Setting<T = unknown> {
  /** In the configuration file: camelCase, nested keys joined by a dot. */
  key: string;
  kind: Kind<T>;
  /** A value, or what finds it at the start; undefined: unset unless given. */
  fallback?: T | (() => T);
  /** What `--help` says as default when the value itself would not tell. */
  fallbackText?: string;
  /** One line. */
  help: string;
}

/** Settings after defaults, file and flags. Lengths of time in seconds. */
export interface AgentConfig {
  nodeName: string;
  /** Undefined: the device of the default route. */
  uplink?: string;
  bpffs: string;
  stateDir: string;
  /** Undefined: /etc/cni/net.d when objects come from the Kubernetes API, else no file is written. */
  cniConfDir?: string;
  /** `off`, or where health is told. */
  healthAddress: string;
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
  /** Of Services without the annotation `pcnk.io/lb-algorithm`. */
  lbAlgorithm: "random" | "maglev";
  logLevel: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  resync: number;
  mapSizes: { services: number; backends: number; sessions: number; endpoints: number };
  timeouts: {
    tcpNew: number;
    tcpEstablished: number;
    tcpClosing: number;
    tcpClosed: number;
    udp: number;
    icmp: number;
  };
}

const text = (placeholder: string, matches: RegExp, expected: string): Kind<string> => ({
  placeholder,
  parse(value) {
    if (typeof value !== "string" || !matches.test(value)) throw new Error(`must be ${expected}`);
    return value;
  },
  format: (value) => value,
});

const path = text("DIR", /^\/[^\0]*$/, "an absolute path");
const file = text("FILE", /^[^\0]+$/, "a path");
const anyPath = text("DIR", /^[^\0]+$/, "a path");
// 15 characters, no slash, no blank: what the kernel takes (dev_valid_name()).
const device = text("DEVICE", /^(?!\.\.?$)[^\s/:]{1,15}$/, "the name of a network device");
const name = text(
  "NAME",
  /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
  "a node name: lower case letters, digits, - and .",
);

const listenAddress = text(
  "HOST:PORT",
  /^(off|(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):\d{1,5})$/,
  "an address and a port, e.g. 127.0.0.1:9879, or off",
);

function choice<const T extends string>(...allowed: T[]): Kind<T> {
  return {
    placeholder: "WORD",
    parse(value) {
      const found = allowed.find((word) => word === value);
      if (found === undefined) throw new Error(`must be one of ${allowed.join(", ")}`);
      return found;
    },
    format: (value) => value,
  };
}

const seconds: Kind<number> = {
  placeholder: "TIME",
  parse(value) {
    const given = parseDuration(value);
    if (given === undefined || given < 1 || given > 365 * 86400) {
      throw new Error("must be a time from 1s to 365d, e.g. 90, 90s, 5m or 1h30m");
    }
    return given;
  },
  format: formatDuration,
};

function entries(min: number, max: number): Kind<number> {
  return {
    placeholder: "N",
    parse(value) {
      const given = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
      if (typeof given !== "number" || !Number.isInteger(given) || given < min || given > max) {
        throw new Error(`must be a whole number from ${min} to ${max}`);
      }
      return given;
    },
    format: String,
  };
}

const yesOrNo: Kind<boolean> = {
  placeholder: "BOOL",
  parse(value) {
    if (value === true || value === "true") return true;
    if (value === false || value === "false") return false;
    throw new Error("must be true or false");
  },
  format: String,
};

interface PortRange {
  first: number;
  last: number;
}

const portRange: Kind<PortRange> = {
  placeholder: "FIRST-LAST",
  parse(value) {
    const text = typeof value === "string" ? value : portRange.format(value as PortRange);
    const [, first, last] = /^(\d+)-(\d+)$/.exec(text) ?? [];
    const range = { first: Number(first), last: Number(last) };
    if (!(range.first >= 1 && range.first <= range.last && range.last <= 65535)) {
      throw new Error("must be a range of ports, e.g. 1024-29999");
    }
    return range;
  },
  format: (range) => `${range?.first}-${range?.last}`,
};

const prefixes: Kind<string[]> = {
  placeholder: "CIDR,…",
  parse(value) {
    const given = typeof value === "string" ? value.split(",").filter((one) => one !== "") : value;
    const good = Array.isArray(given) &&
      given.every((one) => typeof one === "string" && parsePrefix(one.trim()) !== undefined);
    if (!good) throw new Error("must be IPv4 prefixes, e.g. 10.0.0.0/8,192.168.0.0/16");
    return (given as string[]).map((one) => one.trim());
  },
  format: (value) => value.length === 0 ? "none" : value.join(","),
};

const logLevels = choice("trace", "debug", "info", "warn", "error", "silent");

function setting<T>(
  key: string,
  kind: Kind<T>,
  fallback: T | (() => T) | undefined,
  help: string,
  fallbackText?: string,
): Setting<T> {
  return {
    key,
    kind,
    help,
    ...(fallback === undefined ? {} : { fallback }),
    ...(fallbackText ? { fallbackText } : {}),
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
  setting("uplink", device, undefined, "device to the other nodes", "that of the default route"),
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
  setting("cgroup", path, "/sys/fs/cgroup", "cgroup v2 whose processes are the node's own"),
  setting("bridge", device, "pcnk0", "bridge of the pods; awaited if it is not there yet"),
  setting(
    "attach",
    choice("auto", "tcx", "clsact"),
    "auto",
    "how programs are attached: auto, tcx or clsact",
  ),
  setting(
    "routing",
    choice("overlay", "direct"),
    "overlay",
    "how to reach other nodes' pods: through the overlay, or directly where both nodes want that and share a subnet",
  ),
  setting("overlay.device", device, "pcnk_vxlan", "name of the VXLAN device"),
  setting("overlay.vni", entries(1, 0xffffff), 42, "VXLAN network identifier"),
  setting("overlay.port", entries(1, 65535), 4789, "UDP port of the tunnel"),
  setting(
    "overlay.checksumOffload",
    yesOrNo,
    true,
    "leave checksums of what is in the tunnel to the device; false for one that gets them wrong",
  ),
  setting(
    "mtu",
    entries(576, 65535),
    undefined,
    "bytes a pod's packet may have",
    "the uplink's, less 50 for the overlay",
  ),
  setting(
    "masquerade",
    yesOrNo,
    true,
    "give pods' traffic that leaves the cluster the node's address",
  ),
  setting(
    "nonMasqueradeCIDRs",
    prefixes,
    [],
    "where it keeps the pod's address, beside all podCIDRs",
  ),
  setting("snatPorts", portRange, { first: 1024, last: 29999 }, "source ports for that"),
  setting(
    "socketLB",
    choice("host", "all", "off"),
    "host",
    "services at connect(): for the node's own processes, for pods too, or off",
  ),
  setting(
    "lbAlgorithm",
    choice("random", "maglev"),
    "random",
    "how a service picks a backend: at random, or the same one for a client on every node",
  ),
  setting("logLevel", logLevels, "info", "trace, debug, info, warn, error or silent"),
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
  setting("timeouts.tcpNew", seconds, 60, "idle TCP connection before its handshake is over"),
  setting("timeouts.tcpEstablished", seconds, 86400, "idle TCP connection"),
  setting("timeouts.tcpClosing", seconds, 3600, "idle TCP connection that one side has closed"),
  setting("timeouts.tcpClosed", seconds, 120, "TCP connection that both sides have closed"),
  setting("timeouts.udp", seconds, 120, "idle UDP flow"),
  setting("timeouts.icmp", seconds, 120, "idle ICMP flow"),
] as Setting[];

/** `mapSizes.services` is the flag `--map-sizes-services`. */
export function flagName(key: string): string {
  const words = key.replaceAll(".", "-").replace("CIDRs", "Cidrs").replace("LB", "Lb");
  return "--" + words.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The value a setting has when nobody gives one. */
export function fallbackOf({ fallback }: Setting): unknown {
  return typeof fallback === "function" ? fallback() : fallback;
}

/** A default as the help text shows it. */
export function fallbackText({ fallback, fallbackText, kind }: Setting): string {
  if (fallbackText !== undefined) return fallbackText;
  return fallback === undefined ? "none" : kind.format(fallback);
}
