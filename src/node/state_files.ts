/**
 * The files of the state directory beside the attachment records: JSON for root only, by which the agent informs the plugin,
 * the inspecting commands, the uninstaller and the agent that runs next. With the default directory, below /run, they go
 * with a reboot, as do the things in the kernel that they describe.
 */
import { listAttachmentIds, readAttachment } from "./attachments.ts";
import {
  isObject,
  type JsonObject,
  parseObject,
  readIfThere,
  removeFile,
  replaceFile,
} from "./files.ts";
import { NewerRecordError, withoutSchema, withSchema } from "./schema.ts";

/** What each file, `<stateDir>/<name>.json`, holds. */
export interface StateFiles {
  /** The agent that runs and is ready, and how it was called. Absent: none is. */
  agent: {
    pid: number;
    /** RFC 3339. */
    startedAt: string;
    ready: boolean;
    /** `127.0.0.1:9879`, or off. */
    healthAddress?: string;
    /** Authorizes changes at that address. */
    token?: string;
    nodeName?: string;
    manifests?: string;
    kubeconfig?: string;
    /** The setting. */
    externalIPs?: string;
  };
  /** How programs are attached: `auto`, `tcx` or `clsact`. */
  datapath: {
    attach: string;
    pid: number;
    /** By network: the rates (RATE_FLAG) that the plugin bandwidth, which comes after pcnk in its list, gives every pod. */
    limits?: Record<string, number> | undefined;
  };
  /** Why the last agent could not replace a former data plane. Absent: it did. */
  upgrade: { error: string };
  /** What etcd said last of each node: settings by name. */
  "node-settings": { etcd_url: string[]; nodes: Record<string, object> };
  /** Kernel parameters that were changed, by name with slashes. */
  sysctls: Record<string, SysctlChange>;
  /** What was set up in the cloud's network. */
  vpc: VpcRecord;
  /** What was added to net.ipv4.ip_local_reserved_ports, as the kernel writes it. */
  "reserved-ports": { ports: string };
  /** What the agent last saw well, or is configured to need: by it objects are checked and made again. */
  objects: NodeObjects;
  /** Devices that are uplinks or might have been expected to be, and why; names of the setting that no device has. */
  uplinks: {
    devices: { name: string; uplink: boolean; why: string; unserved?: boolean }[];
    missing: string[];
  };
}

/** A parameter's value before the first change, and after the last one. */
export interface SysctlChange {
  before: string;
  after: string;
}

/** A route of a VPC to this instance, and what has to be known to remove it. */
interface VpcRecord {
  region: string;
  routeTableId: string;
  eni: string;
  podCIDR: string;
  checkTurnedOff?: { instanceId: string };
  /** Destinations that the table leads to instances, this one's too. */
  routes: string[];
}

/** Objects of a node that neither the records of pods nor the maps name. */
export interface NodeObjects {
  /** The pods' bridge. */
  bridge: string;
  /** Its address as the pods' neighbour tables have it; absent: it was not seen yet. */
  bridgeMac?: string;
  /** Its addresses with prefix lengths, `10.244.1.1/24`, the one of new pods first. */
  bridgeAddresses: string[];
  /** Of the node's own processes; absent: they get no Services from pcnk. */
  cgroup?: string;
  /** Where the agent writes the CNI configuration; absent: nowhere. */
  cniConfDir?: string;
  /** Where the runtime looks for plugins, as far as the agent knows. */
  cniBinDir?: string;
  /** Name of the overlay's device. */
  overlayDevice: string;
  /** Of this node. */
  podCIDR?: string;
  /** Bytes that a packet of a pod may have, where the agent writes the CNI configuration. */
  podMtu?: number | undefined;
  /** The default route since this agent's start: `via 192.0.2.1 dev eth0`. Absent: there was none. */
  defaultRoute?: string;
  /** The node's own address, once a device had it. */
  nodeAddress?: string;
}

export type StateName = keyof StateFiles;

const text = (value: unknown) => typeof value === "string";

/** Whether a file holds what it should. */
const CHECKS: Record<StateName, (value: JsonObject) => boolean> = {
  agent: ({ pid, startedAt }) => Number.isInteger(pid) && text(startedAt),
  datapath: ({ attach, limits }) =>
    text(attach) &&
    (limits === undefined || isObject(limits) && Object.values(limits).every(Number.isInteger)),
  upgrade: ({ error }) => text(error),
  "node-settings": ({ etcd_url, nodes }) =>
    Array.isArray(etcd_url) && isObject(nodes) && Object.values(nodes).every(isObject),
  sysctls: (value) =>
    Object.values(value).every((one) => isObject(one) && text(one.before) && text(one.after)),
  vpc: ({ region, routeTableId, eni, podCIDR, routes }) =>
    [region, routeTableId, eni, podCIDR].every(text) && Array.isArray(routes),
  "reserved-ports": ({ ports }) => text(ports),
  objects: ({ bridge, bridgeAddresses, overlayDevice }) =>
    text(bridge) && text(overlayDevice) && Array.isArray(bridgeAddresses) &&
    bridgeAddresses.every(text),
  uplinks: ({ devices, missing }) =>
    Array.isArray(devices) && devices.every((one) => isObject(one) && text(one.name)) &&
    Array.isArray(missing),
};

/** The names of all state files. */
export const stateNames = Object.keys(CHECKS) as StateName[];

/** The path of a state file. */
export function statePath(stateDir: string, name: StateName): string {
  return `${stateDir}/${name}.json`;
}

/**
 * What a state file holds; undefined when there is none, or it cannot be read or is damaged.
 * @throws {NewerRecordError}
 */
export function readState<N extends StateName>(
  stateDir: string,
  name: N,
): StateFiles[N] | undefined {
  const path = statePath(stateDir, name);
  try {
    const found = parseObject(readIfThere(path) ?? "");
    const value = found && withoutSchema(name, found, path);
    return value && CHECKS[name](value) ? value as unknown as StateFiles[N] : undefined;
  } catch (error) {
    if (error instanceof NewerRecordError) throw error;
    return undefined;
  }
}

/** Whether there is such a file, damaged or not. */
export function hasState(stateDir: string, name: StateName): boolean {
  try {
    Deno.lstatSync(statePath(stateDir, name));
    return true;
  } catch {
    return false;
  }
}

/** Whether there is such a file and it is whole; one of a newer release is. */
export function isWhole(stateDir: string, name: StateName): boolean {
  try {
    return readState(stateDir, name) !== undefined;
  } catch {
    return true;
  }
}

/** Writes a state file; it is on disk when this returns. */
export function writeState<N extends StateName>(stateDir: string, name: N, value: StateFiles[N]) {
  replaceFile(statePath(stateDir, name), JSON.stringify(withSchema(name, value)) + "\n");
}

/**
 * Refuses a directory with state of a newer pcnk; looks, and changes nothing.
 * @throws {NewerRecordError}
 */
export function refuseNewerState(stateDir: string): void {
  for (const name of stateNames) readState(stateDir, name);
  for (const id of listAttachmentIds(stateDir)) {
    try {
      readAttachment(stateDir, id);
    } catch (error) {
      if (error instanceof NewerRecordError) throw error; // what cannot be read is GC's to report
    }
  }
}

/** Removes a state file if it is there. */
export function removeState(stateDir: string, name: StateName): void {
  removeFile(statePath(stateDir, name));
}

/** Enters a change of a kernel parameter that is about to be made; of several the value before the first one counts. */
export function recordSysctl(stateDir: string, name: string, change: SysctlChange): void {
  const changes = readState(stateDir, "sysctls") ?? {};
  const before = changes[name]?.before ?? change.before;
  writeState(stateDir, "sysctls", { ...changes, [name]: { before, after: change.after } });
}
