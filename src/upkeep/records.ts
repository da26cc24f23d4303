/**
 * Records of pods that went, or were damaged, while their pods are attached: the state directory was emptied, or the disk was full.
 * An agent that has seen a record writes it again; otherwise it comes from the maps, from host-local's store and from libcni's
 * cache. DEL takes a pod's entries in the maps away before its record.
 */
import { PROTO } from "../abi/enums.ts";
import type { Link } from "../linux/rtnetlink.ts";
import {
  type Attachment,
  type AttachmentId,
  attachmentPath,
  attachmentsDir,
  encodeAttachment,
  type PodAddress,
} from "../node/attachments.ts";
import { isThere, replaceFile } from "../node/files.ts";
import type { Fault, NodeState } from "./fault.ts";
import { isEndpoint, podName } from "./pods.ts";

/** The network's name in the agent's own CNI configuration. */
export const NETWORK = "pcnk";

/** The id in a reservation for a pod that no record names; what has it is removed when the address is free again. */
export const UNKNOWN = "pcnk-in-use";

/** Where libcni keeps the results of ADD: they name pods of which pcnk has no record any more. */
const CACHE = "/var/lib/cni/results";

/** A pod that works, and has no record. */
interface Unrecorded {
  link: Link;
  mac: string;
  addresses: PodAddress[];
}

/** Ports of the bridge that the map `endpoints` names, and no record. */
export function unrecorded({ links, records, objects, dataPlane }: NodeState): Unrecorded[] {
  const all = links();
  const bridge = all.find(({ name }) => name === objects.bridge)?.index;
  const known = new Set(records.map(({ hostIfindex }) => hostIfindex));
  const ports = new Map(
    all.filter(({ index, kind, master }) =>
      kind === "veth" && bridge !== undefined && master === bridge && !known.has(index)
    ).map((link) => [link.index, link]),
  );
  const found = new Map<number, Unrecorded>();
  if (ports.size === 0) return [];
  for (const [{ addr: address }, { ifindex, mac, gateway }] of dataPlane.maps.endpoints.entries()) {
    const link = ports.get(ifindex);
    if (link === undefined) continue;
    const one = found.get(ifindex) ?? { link, mac, addresses: [] };
    one.addresses.push({ address, gateway });
    found.set(ifindex, one);
  }
  return [...found.values()];
}

export function recordFaults(node: NodeState): Fault[] {
  const { agent, nl, stateDir } = node;
  const key = ({ containerID, ifname }: AttachmentId) => `${containerID}@${ifname}`;
  const present = new Set(node.records.map(key));
  const former = (agent?.formerRecords ?? []).filter((record) => {
    if (present.has(key(record))) return false;
    return isEndpoint(node, record) && nl.link(record.hostIfindex)?.name === record.hostIfname;
  });
  const lost = new Set(former.map(({ hostIfindex }) => hostIfindex));
  const rest = unrecorded(node).filter(({ link }) => !lost.has(link.index));
  const found = rest.length === 0 ? [] : rebuild(node, rest);
  return [...former, ...found].map((record): Fault => {
    const fault = {
      object: `record of ${"containerID" in record ? key(record) : record.link.name}`,
      text: `the record of pod ${nameOf(record)} in ${stateDir} is gone or damaged; the pod works`,
    };
    if (!("containerID" in record)) {
      const next =
        "leave the pod as it is: what is not on record is only not made again when it breaks";
      return { ...fault, ofPod: true, next };
    }
    const next = agent === undefined
      ? "start the agent, which writes it again; leave the pod as it is"
      : `check that ${stateDir} can be written`;
    return { ...fault, next, mend: () => write(stateDir, record) };
  });
}

function nameOf(record: Attachment | Unrecorded): string {
  if ("containerID" in record) return podName(record);
  return `${
    record.addresses.map(({ address }) => address).join(", ")
  } (device ${record.link.name})`;
}

function write(stateDir: string, record: Attachment) {
  Deno.mkdirSync(attachmentsDir(stateDir), { recursive: true, mode: 0o700 });
  replaceFile(attachmentPath(stateDir, record), encodeAttachment(record));
}

/** Records as ADD would have written them, where host-local knows the container. The path of the namespace is not known. */
function rebuild(node: NodeState, pods: readonly Unrecorded[]): (Attachment | Unrecorded)[] {
  const { stateDir, objects: { bridge }, dataPlane: { maps } } = node;
  const names = cachedNames();
  return pods.map((one) => {
    const first = one.addresses[0]!.address;
    const id = holderOf(`${stateDir}/ipam/${NETWORK}/${first}`);
    if (id === undefined) return one;
    const { link: { index: hostIfindex, name: hostIfname }, mac, addresses } = one;
    const portMappings = maps.host_ports.entries().filter(([, { addr }]) => addr === first)
      .map(([key, value]) => ({
        hostIP: key.addr,
        hostPort: key.port,
        containerPort: value.port,
        protocol: key.proto === PROTO.TCP ? "tcp" as const : "udp" as const,
      }));
    const known = { ...id, network: NETWORK, netns: "", hostIfindex, hostIfname, bridge, mac };
    const record: Attachment = { ...known, addresses, portMappings };
    const pod = names.get(first);
    if (pod !== undefined) record.pod = pod;
    return record;
  });
}

/** The container in a reservation of host-local: its id and the interface, a line each. */
function holderOf(path: string): AttachmentId | undefined {
  try {
    const [containerID = "", ifname = ""] = Deno.readTextFileSync(path).split(/\r?\n/);
    return containerID === "" || ifname === "" || containerID === UNKNOWN
      ? undefined
      : { containerID, ifname };
  } catch {
    return undefined;
  }
}

/** Pods' names by their addresses, from libcni's cache. */
export function cachedNames(): Map<string, string> {
  const names = new Map<string, string>();
  for (const file of list(CACHE)) {
    try {
      const { cniArgs = [], result } = JSON.parse(Deno.readTextFileSync(`${CACHE}/${file}`));
      const args = new Map<string, string>(cniArgs);
      const pod = `${args.get("K8S_POD_NAMESPACE")}/${args.get("K8S_POD_NAME")}`;
      for (const { address } of result.ips) names.set(String(address).split("/")[0]!, pod);
    } catch {
      continue; // another network's, or half written
    }
  }
  return names;
}

/** Names in a directory; none where it cannot be read. */
export function list(dir: string): string[] {
  if (!isThere(dir)) return []; // an exception costs more than all of this
  try {
    return Array.from(Deno.readDirSync(dir), ({ name }) => name);
  } catch {
    return [];
  }
}
