/** Which file defines an object that several files hold: the first by name. */
import type { Change } from "../model/state.ts";
import type { ManifestEntry } from "./manifest_file.ts";
import { same } from "./same.ts";
import type { SourceProblem } from "./source.ts";

interface Holder {
  file: string;
  entry: ManifestEntry;
}

/** Collects updates of files; `takeChanges()` gives the difference since its last call. */
export class ManifestIndex {
  readonly #files = new Map<string, Map<string, ManifestEntry>>();
  readonly #speakers = new Map<string, Holder>();
  /** All files that hold an object, for those objects that more than one file holds. */
  readonly #contested = new Map<string, Set<string>>();
  /** The holders of changed objects as of the last `takeChanges()`. */
  readonly #before = new Map<string, Holder | undefined>();
  #problems: SourceProblem[] = [];

  /** A file's entries by title; an empty map when it is gone. */
  update(file: string, entries: Map<string, ManifestEntry>) {
    const old = this.#files.get(file);
    if (entries.size > 0) this.#files.set(file, entries);
    else this.#files.delete(file);
    for (const title of old?.keys() ?? []) {
      if (!entries.has(title)) this.#leave(title, file);
    }
    for (const [title, entry] of entries) {
      if (old?.get(title) !== entry) this.#join(title, file, entry);
    }
  }

  /** Net changes since the last call, and objects newly found in several files. */
  takeChanges(): { changes: Change[]; problems: SourceProblem[] } {
    const changes: Change[] = [];
    for (const [title, before] of this.#before) {
      const now = this.#speakers.get(title);
      if (now !== undefined) {
        if (before === undefined || !same(before.entry.object, now.entry.object)) {
          changes.push({ type: "upsert", object: now.entry.object });
        }
      } else if (before !== undefined) {
        changes.push({ type: "delete", object: before.entry.object });
      }
    }
    this.#before.clear();
    const problems = this.#problems;
    this.#problems = [];
    return { changes, problems };
  }

  #join(title: string, file: string, entry: ManifestEntry) {
    const speaker = this.#speakers.get(title);
    if (speaker === undefined || speaker.file === file) return this.#speak(title, { file, entry });
    const holders = this.#contested.get(title) ?? new Set([speaker.file]);
    const isNew = !holders.has(file);
    this.#contested.set(title, holders.add(file));
    if (file < speaker.file) this.#speak(title, { file, entry });
    if (isNew) this.#report(title, file < speaker.file ? speaker : { file, entry });
  }

  #leave(title: string, file: string) {
    const holders = this.#contested.get(title);
    holders?.delete(file);
    if (this.#speakers.get(title)?.file === file) {
      const next = [...holders ?? []].sort()[0];
      const entry = next === undefined ? undefined : this.#files.get(next)?.get(title);
      this.#speak(title, next && entry ? { file: next, entry } : undefined);
    }
    if (holders !== undefined && holders.size < 2) this.#contested.delete(title);
  }

  #speak(title: string, holder: Holder | undefined) {
    if (!this.#before.has(title)) this.#before.set(title, this.#speakers.get(title));
    if (holder === undefined) this.#speakers.delete(title);
    else this.#speakers.set(title, holder);
  }

  #report(title: string, loser: Holder) {
    const reason = `is also in ${this.#speakers.get(title)?.file}; this one is ignored`;
    this.#problems.push({ file: loser.file, line: loser.entry.line, object: title, reason });
  }
}
