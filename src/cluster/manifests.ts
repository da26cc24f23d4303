/**
 * Cluster objects from a directory of manifests: every *.yaml, *.yml and *.json file in it (not below it, nothing that
 * starts with a dot). The embedded source: no Kubernetes needed.
 *
 * A file is read as soon as its writer closes it or renames it into place; while one is being written to, some
 * milliseconds after it went quiet. Events are hints: each reading compares with what was read before, a scan of the
 * whole directory every half minute finds what events missed, and a directory that is replaced (also through a
 * symlink, also Kubernetes' `..data` kind) is followed. When the directory is gone everything read from it stays.
 */
import { join, resolve } from "node:path";
import { splitDocuments } from "./documents.ts";
import { type ManifestFile, readManifest, unreadableManifest } from "./manifest_file.ts";
import { ManifestIndex } from "./manifest_index.ts";
import { PieceWorker } from "./piece_worker.ts";
import type { Source, SourceListener, SourceProblem } from "./source.ts";
import { identityOf, type Stamp, stampOf } from "./stamp.ts";
import { DirectoryWatch, type WatchHandler } from "./watch.ts";

/** Objects that are reported at a time: what follows takes some milliseconds. */
const maxChanges = 4096;
/** Problems of one reading that are reported one by one. */
const maxReported = 20;
/** Larger files are a mistake. */
const maxFileBytes = 256 * 1024 * 1024;
/** A file younger than this when it was read is read once more: writes within one tick of its clock look the same. */
const racyMs = 50;
/** How long a removed file may take to be there again before its objects go; and an emptied one to be filled. */
const removeMs = 100;

/** Until a file that could not be read is tried again. */
const retryMs = 2000;

interface Known {
  /** How the file looked when it was read; undefined: it could not even be looked at. */
  stamp: string | undefined;
  file: ManifestFile;
  /** The problems that were reported, as text; to report each once. */
  reported: string;
}

type Reading = Parameters<WatchHandler["files"]>[1];

interface ManifestOptions {
  /** Milliseconds between scans of the whole directory. */
  rescanMs?: number;
  /** Milliseconds without an event after which a file that is written to in place is read. */
  quietMs?: number;
}

/** @throws Error from `start()` when the directory is not there or cannot be read. */
export class ManifestSource implements Source {
  readonly #directory: string;
  readonly #known = new Map<string, Known>();
  readonly #index = new ManifestIndex();
  readonly #worker = new PieceWorker();
  readonly #watch: DirectoryWatch;
  readonly #quietMs: number;
  #listing: string | undefined;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  readonly #listener: SourceListener;

  constructor(directory: string, listener: SourceListener, options: ManifestOptions = {}) {
    this.#listener = listener;
    this.#directory = resolve(directory);
    this.#quietMs = options.quietMs ?? 250;
    this.#watch = new DirectoryWatch(this.#directory, {
      files: (names, how) => this.#enqueue(() => this.#readSome(names, how)),
      scan: () => this.#enqueue(() => this.#scan()),
    }, { rescanMs: options.rescanMs ?? 30_000, quietMs: this.#quietMs, removeMs });
  }

  get complete(): boolean {
    if (this.#listing !== undefined) return false;
    for (const { file } of this.#known.values()) if (!file.everGood) return false;
    return true;
  }

  async start(): Promise<void> {
    Deno.readDirSync(this.#directory);
    this.#watch.start();
    await this.#enqueue(() => this.#scan(true));
  }

  close() {
    this.#closed = true;
    this.#watch.close();
    this.#worker.close();
  }

  /** Runs a reading when those before it have ended. */
  #enqueue(read: () => Promise<void>): Promise<void> {
    return this.#work = this.#work.catch(() => {}).then(() => this.#closed ? undefined : read());
  }

  /** Looks at the whole directory. */
  async #scan(first = false) {
    const names = this.#list();
    if (names === undefined) return;
    // A directory that is being filled again shows its files one by one: wait before any of them counts as gone.
    for (const name of this.#known.keys()) if (!names.has(name)) this.#watch.later(name, removeMs);
    for (const name of names) await this.#refresh(name, first ? "whole" : "quiet");
    await this.#publish();
  }

  /** The manifests' names; undefined, and reported once, when the directory cannot be read. */
  #list(): Set<string> | undefined {
    try {
      const names = [...Deno.readDirSync(this.#directory)].map(({ name }) => name);
      if (this.#listing !== undefined) this.#listener.recovered(this.#directory);
      this.#listing = undefined;
      return new Set(names.filter(isManifest).sort());
    } catch (error) {
      const reason = `${reasonOf(error)}; what was read from it before stays in effect`;
      if (this.#listing === undefined) {
        this.#listener.problem({ file: this.#directory, line: 0, reason });
      }
      this.#listing = reason;
      return undefined;
    }
  }

  async #readSome(names: string[], how: Reading) {
    for (const name of names) if (isManifest(name)) await this.#refresh(name, how);
    await this.#publish();
  }

  /** Reads a file if it looks different from when it was last read; one that may be half written a little later. */
  async #refresh(name: string, how: Reading) {
    const path = join(this.#directory, name);
    const before = this.#known.get(name);
    let stamp: Stamp | undefined;
    let file: ManifestFile;
    try {
      stamp = stampOf(path);
      if (stamp === undefined) return this.#vanished(name);
      const unchanged = before?.stamp === stamp.key;
      if (unchanged && how !== "again") return;
      // A file from the future is as old as it is far ahead.
      const age = Math.abs(Date.now() - stamp.changedMs);
      if (!unchanged && how !== "whole" && age < this.#quietMs) {
        return this.#watch.later(name, this.#quietMs);
      }
      if (before !== undefined && stamp.size === 0 && age < removeMs) {
        return this.#watch.later(name, removeMs); // truncated: its writer is about to write
      }
      if (stamp.size > maxFileBytes) throw new Error(`is larger than ${maxFileBytes >> 20} MiB`);
      file = await this.#read(path, before?.file);
      if (how !== "again" && age < racyMs) {
        this.#watch.later(name, 2 * racyMs, true);
      }
    } catch (error) {
      if (isMissing(error)) return this.#vanished(name);
      file = unreadableManifest({ file: path, line: 0, reason: reasonOf(error) }, before?.file);
      stamp = undefined;
      this.#watch.later(name, retryMs, true); // out of file descriptors, for example
    }
    if (this.#closed) return;
    const reported = this.#report(path, file, before);
    this.#known.set(name, { stamp: stamp?.key, file, reported });
    this.#index.update(path, file.entries);
  }

  async #read(path: string, previous: ManifestFile | undefined): Promise<ManifestFile> {
    using file = Deno.openSync(path);
    const pieces = splitDocuments((into) => file.readSync(into) ?? 0);
    return await readManifest(path, pieces, this.#worker, previous);
  }

  /** A file that is not there; nothing is forgotten while the directory itself is away. */
  #vanished(name: string) {
    if (this.#known.has(name) && identityOf(this.#directory) !== undefined) this.#forget(name);
  }

  #forget(name: string) {
    this.#known.delete(name);
    this.#index.update(join(this.#directory, name), new Map());
  }

  /** Reports new problems of a file; returns what to compare with next time. */
  #report(path: string, file: ManifestFile, before: Known | undefined): string {
    const problems = [...file.problems, ...file.repeated];
    const key = JSON.stringify(problems);
    if (key !== before?.reported) this.#reportAll(problems);
    if (file.problems.length === 0 && (before?.file.problems.length ?? 0) > 0) {
      this.#listener.recovered(path);
    }
    for (const type of file.ignored) {
      if (!before?.file.ignored.has(type)) this.#listener.ignored(path, type);
    }
    return key;
  }

  #reportAll(problems: readonly SourceProblem[]) {
    for (const problem of problems.slice(0, maxReported)) this.#listener.problem(problem);
    const more = problems.length - maxReported;
    if (more <= 0) return;
    const { file, line } = problems[maxReported]!;
    this.#listener.problem({ file, line, reason: `this and ${more - 1} more problems` });
  }

  async #publish() {
    const { changes, problems } = this.#index.takeChanges();
    this.#reportAll(problems);
    for (let first = 0; first < changes.length && !this.#closed;) {
      if (first > 0) await new Promise((next) => setTimeout(next, 0));
      const part = changes.slice(first, first += maxChanges);
      this.#listener.changes(part, first < changes.length);
    }
  }
}

function isManifest(name: string): boolean {
  return !name.startsWith(".") && /\.(ya?ml|json)$/.test(name);
}

function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || (error as { code?: string }).code === "ENOENT";
}

function reasonOf(error: unknown): string {
  if (isMissing(error)) return "is not there";
  if (error instanceof Deno.errors.PermissionDenied) return "may not be read";
  return error instanceof Error ? error.message : String(error);
}

/** `manifests/web.yaml:3: Service default/web: spec.ports[0].port: …`. */
export function formatProblem({ file, line, object, reason }: SourceProblem): string {
  const where = line > 0 ? `${file}:${line}` : file;
  return [where, object, reason].filter((part) => part !== undefined).join(": ");
}
