/** The pods of this node: their devices, the programs on these, and their entries in the map `endpoints`. */
import { attachPinned, staleLinks } from "../bpf/attach.ts";
import {
  type AttachPoint,
  isAttachedAt,
  outletAttachPoint,
  overlayAttachPoint,
  podAttachPoints,
  uplinkAttachPoints,
} from "../bpf/attach_points.ts";
import { ensureHeaderless } from "../bpf/headerless.ts";
import { removePin } from "../bpf/pins.ts";
import { knownRates } from "../bpf/rates.ts";
import { closePort, isPodFdbEntry, portDifference, portSwitches } from "../bpf/segment.ts";
import type { FdbEntry } from "../linux/rtnl_neigh.ts";
import type { Link } from "../linux/rtnetlink.ts";
import type { Attachment } from "../node/attachments.ts";
import { renamedFault } from "./bridge.ts";
import type { Fault, NodeState } from "./fault.ts";
import { isThere } from "../node/files.ts";

/** Of an entry that was converted. */
const NO_MAC = "00:00:00:00:00:00";

/** A pod for a message. */
export const podName = ({ pod, containerID, addresses }: Attachment) =>
  `${pod ?? `container ${containerID.slice(0, 12)}`} (${
    addresses.map(({ address }) => address).join(", ")
  })`;

/** A record, and the host end of its pair; undefined: gone, and its index may be another device's. */
export function devicesOf({ links: all, records }: NodeState): [Attachment, Link | undefined][] {
  const links = new Map(all().map((link) => [link.index, link]));
  return records.map((record) => {
    const link = links.get(record.hostIfindex);
    return [record, link?.name === record.hostIfname ? link : undefined];
  });
}

/** Is one of a pod's addresses in the map `endpoints`, with its device? */
export function isEndpoint(
  { dataPlane: { maps: { endpoints } } }: NodeState,
  record: Attachment,
): boolean {
  return record.addresses.some(({ address: addr }) =>
    endpoints.get({ addr })?.ifindex === record.hostIfindex
  );
}

/** Pods' devices: there, up, and ports of their bridge. */
export function portFaults(node: NodeState): Fault[] {
  const { nl } = node;
  return devicesOf(node).flatMap(([record, link]): Fault[] => {
    const pod = podName(record);
    if (link === undefined) {
      const renamed = nl.link(record.hostIfindex);
      if (renamed?.kind === "veth" && isEndpoint(node, record)) {
        return [renamedFault(nl, renamed, record.hostIfname, `the device of pod ${pod}`)];
      }
      return isThere(record.netns) ? [goneFault(record)] : [];
    }
    const faults: Fault[] = [];
    const { name, index } = link;
    const bridge = record.bridge === undefined ? undefined : nl.link(record.bridge);
    if (bridge?.kind === "bridge" && link.master !== bridge.index) {
      const text = `${name} of pod ${pod} is no port of ${bridge.name}`;
      const next = `ip link set ${name} master ${bridge.name}`;
      const mend = () => nl.setLink(index, { master: bridge.index });
      faults.push({ object: `${name} port`, text, next, mend });
    }
    if (!link.up) {
      const text = `${name} of pod ${pod} is down`;
      const mend = () => nl.setLink(index, { up: true });
      faults.push({ object: `${name} up`, text, next: `ip link set ${name} up`, mend });
    }
    return [...faults, ...switchedFaults(node, link, pod)];
  });
}

/** What limits a pod's device that is up and a port of the bridge, beyond the end of its segment. */
function switchedFaults(
  { nl, objects: { podMtu = 0 } }: NodeState,
  link: Link,
  pod: string,
): Fault[] {
  const { name, index, master, mtu, running, portLimits = [] } = link;
  const faults: Fault[] = [];
  const wrong = ["locked", "no broadcasts", ...(running ? ["blocking"] : [])];
  const limits = portLimits.filter((limit) => wrong.includes(limit)).join(", ");
  if (limits !== "") {
    faults.push({
      object: `${name} switching`,
      text: `the bridge does not switch all frames of ${name} of pod ${pod}: ${limits}`,
      next: `ip link set ${name} nomaster && ip link set ${name} master ${nl.link(master!)?.name}`,
      mend: () => {
        nl.setLink(index, { master: 0 }); // a new port has no limits
        nl.setLink(index, { master });
      },
    });
  }
  if (mtu < podMtu) {
    faults.push({
      object: `${name} MTU`,
      text: `${name} of pod ${pod} has MTU ${mtu}: longer packets of the pod are dropped`,
      next: `ip link set ${name} mtu ${podMtu}`,
      mend: () => nl.setLink(index, { mtu: podMtu }),
    });
  }
  return faults;
}

/**
 * The bridge's ports as the ends of pods' segments: isolated, and with the pod's MAC address alone. An agent of this release
 * makes them so for pods that an older one has added.
 */
export function segmentFaults(node: NodeState): Fault[] {
  const { nl, dataPlane: { maps } } = node;
  const tables = new Map<number, readonly FdbEntry[]>();
  return devicesOf(node).flatMap(([record, link]): Fault[] => {
    const master = link?.master;
    if (link === undefined || master === undefined || link.portLimits === undefined) return [];
    const { index, name } = link;
    if (!tables.has(master)) tables.set(master, nl.fdb({ master }));
    const wanted = portSwitches(maps, index, knownRates(maps.rates, index));
    const difference = portDifference(link, wanted);
    const known = tables.get(master)!.some((one) => isPodFdbEntry(one, index, record.mac));
    if (difference === "" && known) return [];
    const what = difference === "" ? `its table lacks ${record.mac}` : difference;
    return [{
      object: `${name} segment`,
      text: `the bridge does not keep ${name} of pod ${podName(record)} apart: ${what}`,
      next: "restart the agent, which mends it; see its log",
      // An ordinary port: of a pod that an older release has added; and a setting may have changed.
      fresh: link.portLimits.length === 0 || !wanted.isolated || undefined,
      mend: () => closePort(nl, index, record.mac, wanted),
    }];
  });
}

/** Only the runtime can make a pod's pair of devices. */
function goneFault(record: Attachment): Fault {
  return {
    object: `${record.containerID}@${record.ifname}`,
    ofPod: true,
    text: `${record.hostIfname}, the device of pod ${podName(record)}, is gone`,
    next: `delete the pod ${record.pod ?? ""}, so that it is made again`.replace("  ", " "),
  };
}

/** lbrp on the devices of pods and on their bridge. */
export function podProgramFaults(node: NodeState): Fault[] {
  const { bpffs, nl, objects } = node;
  const bridge = nl.link(objects.bridge);
  const points = bridge === undefined ? [] : [outletAttachPoint(bpffs, nl, bridge)];
  const fresh = !node.records.some((one) => one.bridge === objects.bridge) || undefined;
  for (const [, link] of devicesOf(node)) {
    if (link !== undefined) points.push(...podAttachPoints(bpffs, nl, link));
  }
  return unattached(node, points).map((fault) => ({ ...fault, fresh }));
}

/** k8sdispatcher on uplinks and on the overlay's device. */
export function uplinkProgramFaults(node: NodeState): Fault[] {
  const { bpffs, nl, dataPlane, objects } = node;
  const points: AttachPoint[] = dataPlane.maps.uplinks.keys().flatMap(({ ifindex }) => {
    const link = nl.link(ifindex);
    return link === undefined ? [] : uplinkAttachPoints(bpffs, nl, link);
  });
  const overlay = nl.link(objects.overlayDevice);
  if (overlay?.kind === "vxlan") points.push(overlayAttachPoint(bpffs, nl, overlay));
  return unattached(node, points);
}

function unattached(node: NodeState, points: readonly AttachPoint[]): Fault[] {
  const byName = new Map(points.map((one) => [`${one.name} on ${one.device}`, one]));
  return [...byName].filter(([, point]) => !isAttachedAt(node.dataPlane, point))
    .map(([object, { name, device, hook }]): Fault => ({
      object,
      text: `${name} is not attached to ${device}`,
      next: `restart the agent, which attaches it; see its log, and tc filter show dev ${device} ` +
        hook.direction,
      mend: () => {
        ensureHeaderless(hook.bpffs, name);
        attachPinned({ ...hook, name, mode: node.attach });
      },
    }));
}

/**
 * Entries of the map `pod_devices`, against the records. An agent of this release fills them in, for pods that an older one
 * has added.
 */
function deviceFaults(node: NodeState): Fault[] {
  const { pod_devices } = node.dataPlane.maps;
  const held = new Map(pod_devices.entries().map(([{ ifindex }, entry]) => [ifindex, entry]));
  return devicesOf(node).flatMap(([record, link]): Fault[] => {
    if (link === undefined) return [];
    const { index: ifindex, name } = link;
    const entry = held.get(ifindex);
    const same = entry?.mac === record.mac;
    if (same && entry.host_mac === link.mac) return [];
    return [{
      object: `pod device ${name}`,
      text: `the entry of pod ${podName(record)} in the map pod_devices is missing or of another`,
      next: "restart the agent, which writes it; see its log",
      fresh: entry === undefined || same && entry.host_mac === NO_MAC || undefined,
      mend: () => {
        const flags = same ? entry.flags : 0;
        pod_devices.set({ ifindex }, { mac: record.mac, flags, host_mac: link.mac });
      },
    }];
  });
}

/** Entries of the maps `endpoints` and `pod_devices`, against the records of pods whose device is there. */
export function endpointFaults(node: NodeState): Fault[] {
  const { endpoints } = node.dataPlane.maps;
  const held = new Map(endpoints.entries().map(([{ addr }, entry]) => [addr, entry]));
  const owners = new Map<string, Attachment>();
  const faults = deviceFaults(node);
  for (const [record, link] of devicesOf(node)) {
    if (link === undefined) continue;
    for (const { address: addr, gateway } of record.addresses) {
      const other = owners.get(addr);
      if (other !== undefined) {
        faults.push(twiceFault(addr, other, record));
        continue;
      }
      owners.set(addr, record);
      const entry = held.get(addr);
      const wanted = { ifindex: link.index, mac: record.mac, gateway };
      if (entry?.ifindex === wanted.ifindex && entry.mac === wanted.mac) continue;
      const what = entry === undefined ? "is missing" : "leads to another device";
      faults.push({
        object: `endpoint ${addr}`,
        text: `the entry of pod ${podName(record)} in the map endpoints ${what}`,
        next: "restart the agent, which writes it; see its log",
        mend: () => endpoints.set({ addr }, wanted),
      });
    }
  }
  return faults;
}

/** Entries and links of devices that are gone: their pods ended without a DEL. */
export function leftoverFaults({ bpffs, links, dataPlane }: NodeState): Fault[] {
  const { endpoints, pod_devices } = dataPlane.maps;
  const present = new Set(links().map(({ index }) => index));
  const next = "restart the agent, which removes it; see its log";
  const entries = endpoints.entries().filter(([, { ifindex }]) => !present.has(ifindex))
    .map(([{ addr }]): Fault => ({
      object: `endpoint ${addr}`,
      text: `the entry ${addr} in the map endpoints leads to a device that is gone`,
      next,
      fresh: true,
      mend: () => void endpoints.delete({ addr }),
    }));
  const devices = pod_devices.keys().filter(({ ifindex }) => !present.has(ifindex))
    .map(({ ifindex }): Fault => ({
      object: `pod device ${ifindex}`,
      text: `the entry ${ifindex} in the map pod_devices is of a device that is gone`,
      next,
      fresh: true,
      mend: () => void pod_devices.delete({ ifindex }),
    }));
  const pins = staleLinks(bpffs).map(({ path }): Fault => ({
    object: path,
    text: `${path} is the link of a device that is gone`,
    next,
    fresh: true,
    mend: () => void removePin(path),
  }));
  return [...entries, ...devices, ...pins];
}

function twiceFault(address: string, a: Attachment, b: Attachment): Fault {
  return {
    object: `address ${address}`,
    ofPod: true,
    text: `the pods ${podName(a)} and ${podName(b)} have the same address`,
    next: `delete the pod ${(b.pod ?? podName(b))}, so that it gets another address`,
  };
}
