/**
 * The plan of a laboratory: every name, address and path, derived from the options alone (pure, no I/O).
 *
 * All names follow from the lab's name, so that a lab whose state file is lost can still be found and removed.
 */

/** Where labs keep their state; a folder per lab, readable by root only. */
export const LAB_ROOT = "/run/pcnk-lab";

/** Where `ip netns` keeps named network namespaces. */
export const NETNS_ROOT = "/run/netns";

/** The port on which every pod's server listens, TCP and UDP. */
export const SERVER_PORT = 8080;

export const ATTACH_MODES = ["auto", "tcx", "clsact"] as const;

/** How the agents attach programs; see src/bpf/attach.ts. */
type AttachMode = typeof ATTACH_MODES[number];

export const ROUTING_MODES = ["overlay", "direct"] as const;

/** How nodes reach each other's pods; see src/routing/plan.ts. */
export type RoutingMode = typeof ROUTING_MODES[number];

/** What a lab is made from. */
export interface LabOptions {
  /** 2 to 15 of a-z and 0-9, a letter first. */
  name: string;
  /** 1 to 16. */
  nodes: number;
  /** Pods on each node, 0 to 32. */
  pods: number;
  attach: AttachMode;
  routing: RoutingMode;
}

export const DEFAULT_OPTIONS: LabOptions = {
  name: "lab",
  nodes: 2,
  pods: 2,
  attach: "auto",
  routing: "overlay",
};

/** A pod as planned; its address is known only after CNI ADD. */
export interface PodPlan {
  name: string;
  /** The name of its node. */
  node: string;
  netns: string;
  netnsPath: string;
  containerId: string;
}

/** A node: a network namespace with an uplink, an agent and pods. */
export interface NodePlan {
  /** From 1. */
  index: number;
  name: string;
  netns: string;
  netnsPath: string;
  /** The uplink's address, without prefix length. */
  address: string;
  podCIDR: string;
  /** The pods' gateway: the address of the bridge pcnk0. */
  gateway: string;
  /** The agent's state folder; everything of this node lies in it. */
  dir: string;
  bpffs: string;
  /** Below the cgroup2 mount. */
  cgroup: string;
  /** The node's device on the fabric's bridge. */
  port: string;
  agentConfig: string;
  agentLog: string;
  conflist: string;
  /** host-local's dataDir. */
  ipam: string;
  pods: PodPlan[];
}

/** The physical network: a namespace with a bridge whose own address is the nodes' default gateway. */
export interface FabricPlan {
  netns: string;
  netnsPath: string;
  bridge: string;
  gateway: string;
  prefixLength: number;
}

/** A machine that is no node of the cluster, in a subnet of its own behind the fabric, which knows nodes but no pods. */
export interface OutsidePlan {
  name: "outside";
  netns: string;
  netnsPath: string;
  address: string;
  /** The fabric's address on this subnet. */
  gateway: string;
  prefixLength: number;
  /** The fabric's device to it. */
  port: string;
  /** Below the cgroup2 mount. */
  cgroup: string;
  log: string;
}

/** A whole lab. */
export interface LabPlan {
  options: LabOptions;
  dir: string;
  stateFile: string;
  manifests: string;
  /** Holds `pcnk` under that name, for CNI_PATH. */
  bin: string;
  /** Below the cgroup2 mount. */
  cgroup: string;
  fabric: FabricPlan;
  outside: OutsidePlan;
  /** MTU of the pods' devices in bytes; absent: as the bridge plugin chooses, which is 1500. */
  podMtu?: number;
  nodes: NodePlan[];
}

/**
 * Checks a lab's name. Hyphens are not allowed because they separate the parts of the namespaces' names.
 *
 * @throws RangeError that says what is allowed.
 */
export function checkLabName(
  name: string,
  what = `the lab's name ${JSON.stringify(name)}`,
): string {
  if (!/^[a-z][a-z0-9]{1,14}$/.test(name)) {
    throw new RangeError(`${what} must be 2 to 15 of a-z and 0-9, a letter first`);
  }
  return name;
}

/**
 * Checks a whole number within bounds, as commander hands it over (a string) or as the API does.
 *
 * @throws RangeError naming `what` and the bounds.
 */
export function checkCount(what: string, given: string | number, low: number, high: number) {
  const text = String(given);
  const value = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
  if (!(value >= low && value <= high)) {
    throw new RangeError(`${what} must be a whole number from ${low} to ${high}`);
  }
  return value;
}

/** @throws RangeError when any option is out of its range. */
function checkOptions(options: LabOptions): LabOptions {
  checkLabName(options.name);
  checkCount("--nodes", options.nodes, 1, 16);
  checkCount("--pods", options.pods, 0, 32);
  return options;
}

/** The prefix that all namespaces of a lab share, and nothing else has (lab names hold no hyphen). */
export function netnsPrefix(name: string): string {
  return `pcnk-${checkLabName(name)}-`;
}

/** The lab's own folder. */
export function labDir(name: string): string {
  return `${LAB_ROOT}/${checkLabName(name)}`;
}

/** @throws RangeError when any option is out of its range. */
export function planLab(options: LabOptions): LabPlan {
  checkOptions(options);
  const { name } = options;
  const dir = labDir(name);
  const netns = `${netnsPrefix(name)}net`;
  return {
    options: { ...options },
    dir,
    stateFile: `${dir}/lab.json`,
    manifests: `${dir}/manifests`,
    bin: `${dir}/bin`,
    cgroup: `pcnk-${name}`,
    fabric: {
      netns,
      netnsPath: `${NETNS_ROOT}/${netns}`,
      bridge: "fabric",
      gateway: "192.168.50.1",
      prefixLength: 24,
    },
    outside: planOutside(name, dir),
    podMtu: options.routing === "overlay" ? OVERLAY_MTU : undefined,
    nodes: Array.from({ length: options.nodes }, (_, i) => planNode(options, i + 1)),
  };
}

/** The uplink's 1500, less what VXLAN adds. */
const OVERLAY_MTU = 1450;

function planOutside(lab: string, dir: string): OutsidePlan {
  const name = "outside";
  const netns = `${netnsPrefix(lab)}${name}`;
  return {
    name,
    netns,
    netnsPath: `${NETNS_ROOT}/${netns}`,
    address: "198.51.100.10",
    gateway: "198.51.100.1",
    prefixLength: 24,
    port: name,
    cgroup: `pcnk-${lab}/${name}`,
    log: `${dir}/${name}.log`,
  };
}

function planNode(options: LabOptions, index: number): NodePlan {
  const name = `node${index}`;
  const netns = `${netnsPrefix(options.name)}${name}`;
  const dir = `${labDir(options.name)}/${name}`;
  return {
    index,
    name,
    netns,
    netnsPath: `${NETNS_ROOT}/${netns}`,
    address: `192.168.50.${10 + index}`,
    podCIDR: `10.244.${index}.0/24`,
    gateway: `10.244.${index}.1`,
    dir,
    bpffs: `${dir}/bpf`,
    cgroup: `pcnk-${options.name}/${name}`,
    port: name,
    agentConfig: `${dir}/agent.yaml`,
    agentLog: `${dir}/agent.log`,
    conflist: `${dir}/10-pcnk.conflist`,
    ipam: `${dir}/ipam`,
    pods: Array.from(
      { length: options.pods },
      (_, i) => planPod(options.name, name, `pod${index}-${i + 1}`),
    ),
  };
}

/**
 * A pod of `node`, also one that is added later.
 *
 * @throws RangeError when the pod's name cannot be a pod's or is one the lab uses itself.
 */
export function planPod(lab: string, node: string, name: string): PodPlan {
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(name) || /^(net|outside|node\d+)$/.test(name)) {
    throw new RangeError(`bad pod name ${JSON.stringify(name)}`);
  }
  const netns = `${netnsPrefix(lab)}${name}`;
  return { name, node, netns, netnsPath: `${NETNS_ROOT}/${netns}`, containerId: netns };
}
