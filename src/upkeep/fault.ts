/** What the table of objects (table.ts) is made of: rows, what they look at, and the faults that they find. */
import type { AttachMode } from "../bpf/attach.ts";
import type { DataPlane } from "../bpf/dataplane.ts";
import type { Link, RtNetlink } from "../linux/rtnetlink.ts";
import type { Attachment } from "../node/attachments.ts";
import type { NodeObjects } from "../node/state_files.ts";

/** Something that is not as it should be. */
export interface Fault {
  /** Names the object; the same fault is found again under the same name. */
  object: string;
  /** What is wrong, in one line. */
  text: string;
  /** What to do where pcnk cannot mend it. */
  next: string;
  /** Reason of its Event; `ObjectBroken` by default. */
  event?: string;
  /** New pods cannot start meanwhile: the Node's condition says so. */
  refuses?: true;
  /** Single pods must be made again, which their owners decide: the node is ready meanwhile. */
  ofPod?: true;
  /** No one broke it: it comes into being like that, and is made whole without a warning. */
  fresh?: true | undefined;
  /** Mends it. @throws Error when that fails */
  mend?: () => void | Promise<void>;
}

/** A node's objects, as far as a row needs them. */
export interface NodeState {
  bpffs: string;
  stateDir: string;
  nl: RtNetlink;
  /** All devices, read once. */
  links: () => readonly Link[];
  dataPlane: DataPlane;
  attach: AttachMode;
  /** What the CNI has on record of pods. */
  records: readonly Attachment[];
  objects: NodeObjects;
  /** What only a running agent has; `pcnk status` reads without it, and mends nothing. */
  agent?: AgentHandles;
}

/** Reads the devices at the first call. */
export function readOnce(nl: Pick<RtNetlink, "links">): NodeState["links"] {
  let links: readonly Link[] | undefined;
  return () => links ??= nl.links();
}

/** What an agent has at hand. */
interface AgentHandles {
  /** Pins that are gone. */
  missingPins(): string[];
  restorePins(): void;
  /** Installs hostlb again. */
  installHostlb(): void;
  /** The records of pods when they were last whole. */
  formerRecords: readonly Attachment[];
}

/** When a row is checked, beside a check of all rows every half minute. */
type Watch =
  /** After rtnetlink events, or when a link of a program was detached. */
  | "devices"
  /** Every second: what nothing reports. */
  | "second";

/** One row of the table: a kind of objects. */
export interface Row {
  /** For docs and metrics. */
  name: string;
  /** The part of `pcnk status`. */
  part: "data plane" | "pods" | "uplink" | "host services" | "cni";
  watch: Watch;
  /** CNI calls change these objects too: they are mended under their lock. */
  locked?: true;
  /** Programs and links are found by their pins: the row is not checked while these are gone. */
  pinned?: true;
  /** Milliseconds that a fault may last unreported: another part of the agent mends it, or CNI plugins are at work. */
  graceMs?: number;
  /**
   * What comes of all that `check` reads, for less than it takes: an agent checks the row again when that is another text than
   * when it found nothing. @throws {SyscallError}
   */
  fingerprint?(node: NodeState): string;
  /** @throws {SyscallError} */
  check(node: NodeState): Fault[];
}

/** A row that cannot be read. */
export function unchecked({ name }: Row, { message }: Error): Fault {
  const text = `the node's ${name} cannot be checked: ${message}`;
  return { object: `row ${name}`, text, next: "see the agent's log, with logLevel debug" };
}
