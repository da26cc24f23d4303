/** The attachment records, read again only when their folder has changed: an agent looks at them every second. */
import { type Attachment, attachmentsDir, readAttachments } from "./attachments.ts";

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
    const [stamp, changedMs] = stampOf(attachmentsDir(this.#stateDir));
    const settled = Date.now() - changedMs > coarseMs;
    if (stamp === this.#stamp && settled) return this.#records;
    this.#records = readAttachments(this.#stateDir);
    // Read while it may still change: once more next time.
    this.#stamp = settled ? stamp : "";
    return this.#records;
  }
}

function stampOf(folder: string): [stamp: string, changedMs: number] {
  try {
    const { ino, mtime } = Deno.statSync(folder);
    return [`${ino} ${mtime?.getTime()}`, mtime?.getTime() ?? 0];
  } catch {
    return ["none", 0];
  }
}
