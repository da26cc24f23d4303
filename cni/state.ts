/**
 * The attachment records (src/node/attachments.ts) as the verbs use them: under a lock, for root only.
 *
 * A record is written before what it lists, and removed after it: whenever a process is killed, what it left in the kernel
 * is on record.
 */
import {
  type Attachment,
  type AttachmentId,
  attachmentPath,
  attachmentsDir,
  encodeAttachment,
  listAttachmentIds,
  openLock,
  readAttachment,
} from "../src/node/attachments.ts";
import { removeFile, replaceFile } from "../src/node/files.ts";
import { NewerRecordError } from "../src/node/schema.ts";
import { CniError, CODE, newerRecord } from "./errors.ts";

/** A record, or the file of one that is damaged. */
export interface Stored {
  id: AttachmentId;
  attachment: Attachment | undefined;
}

/**
 * The state directory, locked from `open` to `close`. All verbs exclude each other: an address may go from one pod to the
 * next, and then DEL of the one must not read, compare and remove while ADD of the other writes.
 */
export class State {
  readonly #lock: Deno.FsFile;

  private constructor(readonly stateDir: string, lock: Deno.FsFile) {
    this.#lock = lock;
  }

  /**
   * Makes what is missing, and waits for the lock.
   * @throws {CniError} code 5 when the directory cannot be used, or others than its owner may write to it
   */
  static open(stateDir: string): State {
    try {
      Deno.mkdirSync(attachmentsDir(stateDir), { recursive: true, mode: 0o700 });
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
      Deno.lstatSync(attachmentsDir(stateDir));
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
      checkOwner(attachmentsDir(stateDir));
      lock = openLock(stateDir);
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
    return this.#attempt("read", id, () => readAttachment(this.stateDir, id));
  }

  /** Writes a record; it is on disk when this returns. @throws {CniError} code 5 */
  write(attachment: Attachment): void {
    const path = attachmentPath(this.stateDir, attachment);
    this.#attempt("write", attachment, () => replaceFile(path, encodeAttachment(attachment)));
  }

  /** Removes a record; false when there was none. @throws {CniError} code 5 */
  remove(id: AttachmentId): boolean {
    return this.#attempt("remove", id, () => removeFile(attachmentPath(this.stateDir, id)));
  }

  /** Every record, damaged ones too. Remains of interrupted writes are removed. */
  list(): Stored[] {
    const dir = attachmentsDir(this.stateDir);
    for (const { name } of Array.from(Deno.readDirSync(dir))) {
      if (name.startsWith(".")) Deno.removeSync(`${dir}/${name}`);
    }
    return listAttachmentIds(this.stateDir).map((id) => ({ id, attachment: this.read(id) }));
  }

  #attempt<T>(verb: string, id: AttachmentId, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw failure(`cannot ${verb} ${attachmentPath(this.stateDir, id)}`, error);
    }
  }
}

function checkOwner(path: string): void {
  const { uid, mode, isDirectory } = Deno.lstatSync(path);
  if (!isDirectory) throw new Error(`${path} is not a directory`);
  if (uid !== Deno.uid()) throw new Error(`${path} belongs to another user`);
  if ((mode ?? 0) & 0o022) throw new Error(`others may write to ${path}`);
}

function failure(message: string, error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof NewerRecordError) return newerRecord(error);
  return new CniError(CODE.IO_FAILURE, message, (error as Error).message);
}
