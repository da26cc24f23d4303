/**
 * Attachments on disk: `<stateDir>/attachments/<containerID>@<ifname>.json`, one file an attachment. They tell DEL and
 * GC what an ADD made, when the namespace and the runtime's own memory of it are gone.
 *
 * A record is written before anything it tells of, and removed after: whatever moment a process is killed at, what it
 * left in the kernel has a record. Files appear whole (written beside, synced, renamed, the folder synced).
 */
import { type AttachmentId, containerIdFault, interfaceNameFault } from "./env.ts";
import { CniError, CODE } from "./errors.ts";
import { readIfThere } from "./files.ts";
import { isObject } from "./json.ts";
import type { PodAddress } from "./result.ts";

/** What an ADD installed, or was about to. */
export interface Attachment extends AttachmentId {
  /** Name of the network: GC speaks of one network only. */
  network: string;
  /** Path of the pod's namespace at the time. */
  netns: string;
  /** `namespace/name` of the pod, if known; for people only. */
  pod?: string;
  /** Host end of the veth pair. */
  hostIfindex: number;
  /** Its name: an index alone is given out again after the node started anew. */
  hostIfname: string;
  /** MAC address of the pod's interface. */
  mac: string;
  addresses: PodAddress[];
}

/** A file of the directory: a record, or one that is damaged. */
export interface Stored {
  id: AttachmentId;
  attachment?: Attachment;
}

const SUFFIX = ".json";
/** Begins the name of a file that is not whole yet. */
const FRESH = ".";

/**
 * The state directory, locked from `open` to `close`. All verbs exclude each other: an address may go from one pod to the
 * next, and then DEL of the one must not read, compare and remove while ADD of the other writes.
 */
export class State {
  readonly #lock: Deno.FsFile;
  readonly #dir: string;

  private constructor(readonly stateDir: string, lock: Deno.FsFile) {
    this.#dir = `${stateDir}/attachments`;
    this.#lock = lock;
  }

  /**
   * Makes what is missing, and waits for the lock.
   * @throws {CniError} code 5 when the directory cannot be used, or others than its owner may write to it
   */
  static open(stateDir: string): State {
    try {
      Deno.mkdirSync(`${stateDir}/attachments`, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw failure(`cannot use the state directory ${stateDir}`, error);
    }
    return State.#lockIn(stateDir);
  }

  /**
   * As `open`, for verbs that have nothing to write: where no directory is there is no record either, and none is made (a
   * late DEL would leave one on a node that pcnk was removed from).
   */
  static openIfThere(stateDir: string): State | undefined {
    try {
      Deno.lstatSync(`${stateDir}/attachments`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw failure(`cannot use the state directory ${stateDir}`, error);
    }
    return State.#lockIn(stateDir);
  }

  static #lockIn(stateDir: string): State {
    let lock: Deno.FsFile | undefined;
    try {
      checkOwner(stateDir);
      checkOwner(`${stateDir}/attachments`);
      const options = { read: true, write: true, create: true, mode: 0o600 };
      lock = Deno.openSync(`${stateDir}/lock`, options);
      lock.lockSync(true);
      return new State(stateDir, lock);
    } catch (error) {
      lock?.close();
      throw failure(`cannot use the state directory ${stateDir}`, error);
    }
  }

  close(): void {
    this.#lock.close(); // which also unlocks
  }
  [Symbol.dispose](): void {
    this.close();
  }

  /** The record of an attachment; undefined when there is none or it is damaged. */
  read(id: AttachmentId): Attachment | undefined {
    try {
      const text = readIfThere(this.#path(id));
      return text === undefined ? undefined : decode(text, id);
    } catch (error) {
      throw failure(`cannot read ${this.#path(id)}`, error);
    }
  }

  /** Writes a record; it is on disk when this returns. @throws {CniError} code 5 */
  write(attachment: Attachment): void {
    const path = this.#path(attachment);
    const fresh = `${this.#dir}/${FRESH}${fileName(attachment)}`;
    try {
      writeDurably(fresh, new TextEncoder().encode(JSON.stringify(attachment) + "\n"));
      Deno.renameSync(fresh, path);
      this.#sync();
    } catch (error) {
      throw failure(`cannot write ${path}`, error);
    }
  }

  /** Removes a record; false when there was none. @throws {CniError} code 5 */
  remove(id: AttachmentId): boolean {
    try {
      Deno.removeSync(this.#path(id));
      this.#sync();
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw failure(`cannot remove ${this.#path(id)}`, error);
    }
  }

  /** Every record, damaged ones too. Remains of interrupted writes are removed. */
  list(): Stored[] {
    const found: Stored[] = [];
    for (const { name } of Array.from(Deno.readDirSync(this.#dir))) {
      if (name.startsWith(FRESH)) Deno.removeSync(`${this.#dir}/${name}`);
      const id = parseFileName(name);
      if (!id) continue;
      const attachment = this.read(id);
      found.push(attachment ? { id, attachment } : { id });
    }
    return found;
  }

  #path(id: AttachmentId): string {
    return `${this.#dir}/${fileName(id)}`;
  }

  #sync(): void {
    using dir = Deno.openSync(this.#dir, { read: true });
    dir.syncSync();
  }
}

function checkOwner(path: string): void {
  const { uid, mode, isDirectory } = Deno.lstatSync(path);
  if (!isDirectory) throw new Error(`${path} is not a directory`);
  if (uid !== Deno.uid()) throw new Error(`${path} belongs to another user`);
  if ((mode ?? 0) & 0o022) throw new Error(`others may write to ${path}`);
}

function writeDurably(path: string, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true, create: true, truncate: true, mode: 0o600 });
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
  file.syncSync();
}

function fileName({ containerID, ifname }: AttachmentId): string {
  return `${containerID}@${ifname}${SUFFIX}`;
}

/** A container ID has no `@`, so the first one ends it. */
function parseFileName(name: string): AttachmentId | undefined {
  const at = name.indexOf("@");
  if (at < 0 || !name.endsWith(SUFFIX)) return undefined;
  const id = { containerID: name.slice(0, at), ifname: name.slice(at + 1, -SUFFIX.length) };
  const fault = containerIdFault(id.containerID) ?? interfaceNameFault(id.ifname);
  return fault === undefined ? id : undefined;
}

/** A record is only believed when it is whole and its own. */
function decode(text: string, id: AttachmentId): Attachment | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const { containerID, ifname, network, netns, hostIfindex, hostIfname, mac, addresses } = value;
  const own = containerID === id.containerID && ifname === id.ifname;
  const texts = [network, netns, hostIfname, mac].every((text) => typeof text === "string");
  const whole = own && texts && Number.isInteger(hostIfindex) && Array.isArray(addresses) &&
    addresses.every((one) =>
      isObject(one) && typeof one.address === "string" && typeof one.gateway === "string"
    );
  return whole ? value as unknown as Attachment : undefined;
}

function failure(message: string, error: unknown): CniError {
  if (error instanceof CniError) return error;
  return new CniError(CODE.IO_FAILURE, message, (error as Error).message);
}
