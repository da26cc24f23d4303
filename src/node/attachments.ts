/**
 * Attachment records: `<stateDir>/attachments/<containerID>@<ifname>.json`, one file an attachment, written by CNI ADD
 * (cni/state.ts). From them DEL and GC know what an ADD made when the namespace and the runtime's own memory of it are
 * gone, and the agent and the inspecting commands know the node's pods.
 */
import { PROTO } from "../abi/enums.ts";
import { isObject, type JsonObject, parseObject, readIfThere } from "./files.ts";
import { withoutSchema, withSchema } from "./schema.ts";

/** A CNI attachment: the pair that names everything pcnk keeps of it. */
export interface AttachmentId {
  containerID: string;
  ifname: string;
}

/** An IPv4 address of a pod's interface, both dotted. */
export interface PodAddress {
  /** Without the prefix length. */
  address: string;
  /** 0.0.0.0 when the plugin before pcnk named none. */
  gateway: string;
}

/** A port at an address of the node that leads to one of the pod. */
export interface PortMapping {
  /** 0.0.0.0: every address of the node. */
  hostIP: string;
  hostPort: number;
  containerPort: number;
  protocol: "tcp" | "udp";
}

/** Key and value in the map `host_ports` of a mapping to a pod's address. */
export function hostPortEntry(mapping: PortMapping, addr: string) {
  const { hostIP, hostPort, containerPort, protocol } = mapping;
  const proto = protocol === "tcp" ? PROTO.TCP : PROTO.UDP;
  return { key: { addr: hostIP, port: hostPort, proto }, value: { addr, port: containerPort } };
}

/** What an ADD set up, or was about to. */
export interface Attachment extends AttachmentId {
  /** Name of the network: a GC is for one network. */
  network: string;
  /** Path of the pod's namespace at the time. */
  netns: string;
  /** `namespace/name` of the pod, if known; for display. */
  pod?: string;
  /** Host end of the veth pair. */
  hostIfindex: number;
  /** Its name: the kernel gives an index again after the node rebooted. */
  hostIfname: string;
  /** The bridge whose port that end is. Absent: of none, or ADD was 0.1.0's. */
  bridge?: string;
  /** MAC address of the pod's interface. */
  mac: string;
  addresses: PodAddress[];
  /** Absent: of a release that left hostPorts to the plugin portmap. */
  portMappings?: PortMapping[];
}

const SUFFIX = ".json";

/** Leaves room for `@`, an interface and a suffix in a file name, which has 255 bytes. */
const LONGEST_ID = 200;

/** The folder of the records. */
export const attachmentsDir = (stateDir: string) => `${stateDir}/attachments`;

/** The file of one record. */
export function attachmentPath(stateDir: string, { containerID, ifname }: AttachmentId): string {
  return `${attachmentsDir(stateDir)}/${containerID}@${ifname}${SUFFIX}`;
}

/** The lock's file. */
export const lockPath = (stateDir: string) => `${stateDir}/lock`;

/** Opens the lock that excludes CNI calls from each other and from the agent: `lock()` it exclusively. */
export function openLock(stateDir: string): Deno.FsFile {
  return Deno.openSync(lockPath(stateDir), { read: true, write: true, create: true, mode: 0o600 });
}

/** The text of a record on disk. */
export function encodeAttachment(attachment: Attachment): string {
  return JSON.stringify(withSchema("attachment", attachment)) + "\n";
}

/**
 * The record of an attachment; undefined when there is none or it is damaged.
 * @throws {SyscallError}
 * @throws {NewerRecordError}
 */
export function readAttachment(stateDir: string, id: AttachmentId): Attachment | undefined {
  const path = attachmentPath(stateDir, id);
  const value = parseObject(readIfThere(path) ?? "");
  return value && checkAttachment(withoutSchema("attachment", value, path), id);
}

/** Which attachments have a record, damaged ones too; none without a folder. */
export function listAttachmentIds(stateDir: string): AttachmentId[] {
  try {
    return Array.from(Deno.readDirSync(attachmentsDir(stateDir)))
      .flatMap(({ name }) => parseFileName(name) ?? []);
  } catch (error) {
    const none = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (none) return [];
    throw error;
  }
}

/** The records that can be read. Takes no lock: what comes or goes meanwhile may be among them or not. */
export function readAttachments(stateDir: string): Attachment[] {
  return listAttachmentIds(stateDir).flatMap((id) => {
    try {
      return readAttachment(stateDir, id) ?? [];
    } catch {
      return []; // not readable: GC reports it
    }
  });
}

/**
 * What is wrong with a container ID: CNI SPEC 1.1, section 2 "must start with an alphanumeric character, optionally followed
 * by any combination of alphanumerics, underscore, dot, hyphen". Its length is bounded, because it names a file.
 */
export function containerIdFault(value: string): string | undefined {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(value)) {
    return "it must start with a letter or digit and have only letters, digits, '_', '.' and '-'";
  }
  return value.length > LONGEST_ID ? `it is longer than ${LONGEST_ID}` : undefined;
}

/** What is wrong with an interface name: libcni's ValidateInterfaceName, as the kernel's dev_valid_name(). */
export function interfaceNameFault(value: string): string | undefined {
  // deno-lint-ignore no-control-regex -- control characters are what is looked for
  const hostile = /[\s/:\x00-\x1f\x7f-\xa0]/.test(value);
  const length = new TextEncoder().encode(value).length;
  if (value !== "." && value !== ".." && length >= 1 && length <= 15 && !hostile) return undefined;
  return "it must be 1 to 15 bytes without '/', ':' or white space, and neither '.' nor '..'";
}

/** A container ID has no `@`, so the first one ends it. */
function parseFileName(name: string): AttachmentId | undefined {
  const at = name.indexOf("@");
  if (at < 0 || !name.endsWith(SUFFIX)) return undefined;
  const id = { containerID: name.slice(0, at), ifname: name.slice(at + 1, -SUFFIX.length) };
  const fault = containerIdFault(id.containerID) ?? interfaceNameFault(id.ifname);
  return fault === undefined ? id : undefined;
}

/** A record only counts when it is whole and its own. */
function checkAttachment(value: JsonObject, id: AttachmentId): Attachment | undefined {
  const { containerID, ifname, network, netns, hostIfindex, hostIfname, mac, addresses } = value;
  const own = containerID === id.containerID && ifname === id.ifname;
  const texts = [network, netns, hostIfname, mac].every((text) => typeof text === "string");
  const whole = own && texts && Number.isInteger(hostIfindex) && Array.isArray(addresses) &&
    addresses.every((one) =>
      isObject(one) && typeof one.address === "string" && typeof one.gateway === "string"
    );
  return whole ? value as unknown as Attachment : undefined;
}
