/**
 * Attachments on disk: `<stateDir>/attachments/<containerID>@<ifname>.json`, one file an attachment. They tell DEL and
 * GC what an ADD made, when the namespace and the runtime's own memory of it are gone.
 *
 * A record is written before anything it tells of, and removed after: whatever moment a process is killed at, what it
 * left in the kernel has a record. Files appear whole (written beside, synced, renamed).
 */
import { isObject } from "./config.ts";
import { type AttachmentId, containerId, interfaceName } from "./env.ts";
import { CniError, CODE } from "./errors.ts";
import type { PodAddress } from "./result.ts";

/** What an ADD installed. */
export interface Attachment extends AttachmentId {
  /** Name of the network: GC speaks of one network only. */
  network: string;
  /** Path of the pod's namespace at the time. */
  netns: string;
  /** Host end of the veth pair. */
  hostIfindex: number;
  hostIfname: string;
  /** MAC address of the pod's interface. */
  mac: string;
  addresses: PodAddress[];
}

/** The state directory, locked from `open` to `close`. */
export class State {
  readonly #lock: Deno.FsFile;

  private constructor(readonly dir: string, lock: Deno.FsFile) {
    this.#lock = lock;
  }

  /**
   * Opens and locks the state. Verbs about one attachment share the lock (the spec keeps two of them off one
   * container); GC, which looks at all, has it alone.
   * @throws {CniError} code 5 when the directory cannot be made
   */
  static open(stateDir: string, mode: "shared" | "exclusive"): State {
    const dir = `${stateDir}/attachments`;
    try {
      Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
      Deno.chmodSync(stateDir, 0o700);
      const lock = Deno.openSync(`${stateDir}/lock`, { create: true, write: true, mode: 0o600 });
      lock.lockSync(mode === "exclusive");
      return new State(dir, lock);
    } catch (error) {
      throw failure(`cannot use the state directory ${stateDir}`, error);
    }
  }

  close(): void {
    this.#lock.close(); // which also unlocks
  }
  [Symbol.dispose](): void {
    this.close();
  }

  /** The record of an attachment; undefined when there is none or it cannot be read. */
  read(id: AttachmentId): Attachment | undefined {
    try {
      return decode(Deno.readTextFileSync(this.#path(id)));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw failure(`cannot read ${this.#path(id)}`, error);
    }
  }

  /** Writes a record; it is on disk when this returns. */
  write(attachment: Attachment): void {
    const path = this.#path(attachment);
    const fresh = `${this.dir}/.${Deno.pid}-${performance.now()}`;
    try {
      using file = Deno.openSync(fresh, { createNew: true, write: true, mode: 0o600 });
      const bytes = new TextEncoder().encode(JSON.stringify(attachment) + "\n");
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      file.syncSync();
      Deno.renameSync(fresh, path);
    } catch (error) {
      remove(fresh);
      throw failure(`cannot write ${path}`, error);
    }
  }

  /** Removes a record; false when there was none. */
  remove(id: AttachmentId): boolean {
    try {
      return remove(this.#path(id));
    } catch (error) {
      throw failure(`cannot remove ${this.#path(id)}`, error);
    }
  }

  /** All records that can be read. Remains of interrupted writes are removed; for the holder of the exclusive lock. */
  list(): Attachment[] {
    const found: Attachment[] = [];
    for (const { name } of Array.from(Deno.readDirSync(this.dir))) {
      const path = `${this.dir}/${name}`;
      if (name.startsWith(".")) remove(path);
      if (!name.endsWith(".json")) continue;
      const attachment = decode(Deno.readTextFileSync(path));
      if (attachment) found.push(attachment);
      else remove(path); // half a record tells nobody anything; the kernel's entries without one are reaped
    }
    return found;
  }

  #path({ containerID, ifname }: AttachmentId): string {
    return `${this.dir}/${containerID}@${ifname}.json`;
  }
}

function remove(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A record is only believed when it is whole: its names go into paths. */
function decode(text: string): Attachment | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isObject(value) || typeof value["hostIfindex"] !== "number") return undefined;
    if (!Array.isArray(value["addresses"])) return undefined;
    containerId(String(value["containerID"]), "containerID");
    interfaceName(String(value["ifname"]), "ifname");
    return value as unknown as Attachment;
  } catch {
    return undefined;
  }
}

function failure(message: string, error: unknown): CniError {
  if (error instanceof CniError) return error;
  return new CniError(CODE.IO_FAILURE, `${message}: ${(error as Error).message}`);
}
