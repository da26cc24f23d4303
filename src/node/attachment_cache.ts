/** The attachment records, read again only when their folder or a file has changed: an agent looks at them every second. */
import { type Attachment, attachmentPath, attachmentsDir, readAttachments } from "./attachments.ts";

/** Milliseconds for which a folder's time of change may not tell two changes apart. */
const coarseMs = 2000;

export class AttachmentCache {
  #records: readonly Attachment[] = [];
  #stamp = "";
  readonly #stateDir: string;

  constructor(stateDir: string) {
    this.#stateDir = stateDir;
  }

  read(): readonly Attachment[] {
    const [stamp, changedMs] = this.#now();
    const settled = Date.now() - changedMs > coarseMs;
    if (stamp === this.#stamp && settled) return this.#records;
    this.#records = readAttachments(this.#stateDir);
    // Read while it may still change: once more next time.
    this.#stamp = settled ? stamp : "";
    return this.#records;
  }

  /** A file that is truncated or written in place leaves its folder's time as it was. */
  #now(): [stamp: string, changedMs: number] {
    const files = this.#records.map((one) => attachmentPath(this.#stateDir, one));
    const stamps = [attachmentsDir(this.#stateDir), ...files].map(stampOf);
    return [stamps.map(([stamp]) => stamp).join(), Math.max(...stamps.map(([, ms]) => ms))];
  }
}

function stampOf(path: string): [stamp: string, changedMs: number] {
  try {
    const { ino, size, mtime } = Deno.statSync(path);
    return [`${ino} ${size} ${mtime?.getTime()}`, mtime?.getTime() ?? 0];
  } catch {
    return ["none", 0];
  }
}
