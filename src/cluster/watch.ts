/**
 * Watches one directory and says which of its files to look at, and when.
 *
 * Design notes. inotify (through Deno.watchFs) reports a file that is closed after writing ("access") and renames:
 * then the content is whole and is read at once. "modify" and "create" come while a writer is still at work, and
 * "remove" is half of many an editor's way to save: those wait until the file is quiet. inotify watches an inode, so a
 * directory that is replaced by another takes its watch away with it; hence the second watch on its parent, where the
 * replacing shows, and hence the scan now and then, which also mends lost events (overflows, network file systems).
 *
 * Deno.watchFs itself keeps 16 events that were not taken yet and drops the rest silently. When it drops one, others
 * are in its queue, so a scan after each burst of events finds what was dropped in it.
 */
import { basename, dirname } from "node:path";
import { identityOf } from "./stamp.ts";

export interface WatchHandler {
  /**
   * Look at these files of the directory: `whole` ones now, whatever their age; of others some may still be written to.
   * `again`: even at those that look unchanged.
   */
  files(names: string[], how: "whole" | "quiet" | "again"): unknown;
  /** Look at all of them. May return a promise of the end. */
  scan(): unknown;
}

export interface WatchTimes {
  rescanMs: number;
  /** Quiet time after which a file that is written in place, and not closed, is looked at. */
  quietMs: number;
  /** Time after which a removed file counts as gone. */
  removeMs: number;
}

/** Milliseconds after which a burst of events counts as over. */
const burstMs = { quiet: 20, longest: 500 };

export class DirectoryWatch {
  readonly #watchers = new Map<string, Deno.FsWatcher>();
  readonly #due = new Map<string, { at: number; again: boolean }>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Infinity;
  #rescan: ReturnType<typeof setInterval> | undefined;
  #identity: string | undefined;
  #burst: ReturnType<typeof setTimeout> | undefined;
  #burstSince: number | undefined;
  /** Scans of many files take a while: they get a tenth of the time at most. */
  #scanNotBefore = 0;

  readonly #directory: string;
  readonly #handler: WatchHandler;
  readonly #times: WatchTimes;

  constructor(
    directory: string,
    handler: WatchHandler,
    times: WatchTimes,
  ) {
    this.#directory = directory;
    this.#handler = handler;
    this.#times = times;
  }

  /** Watches from now on; what is there already is the caller's to read. */
  start() {
    this.#open(dirname(this.#directory));
    this.#follow();
    this.#rescan = setInterval(() => {
      this.#follow();
      this.#handler.scan();
    }, this.#times.rescanMs);
  }

  close() {
    clearInterval(this.#rescan);
    clearTimeout(this.#timer);
    clearTimeout(this.#burst);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    this.#due.clear();
  }

  /** Looks at a file in `ms` milliseconds, or later if it changes meanwhile. */
  later(name: string, ms: number, again = false) {
    const before = this.#due.get(name);
    const at = performance.now() + ms;
    this.#due.set(name, { at, again: again || (before?.again ?? false) });
    this.#schedule(at);
  }

  /** Points the watch at the directory that is there now; true when that is another one than before. */
  #follow(): boolean {
    const identity = identityOf(this.#directory);
    if (identity === this.#identity) return false;
    this.#watchers.get(this.#directory)?.close();
    this.#watchers.delete(this.#directory);
    this.#identity = identity !== undefined && this.#open(this.#directory) ? identity : undefined;
    return true;
  }

  #open(path: string): boolean {
    try {
      const watcher = Deno.watchFs(path, { recursive: false });
      this.#watchers.set(path, watcher);
      this.#listen(watcher, path);
      return true;
    } catch {
      return false; // not there (any more), or out of inotify watches: the scans go on
    }
  }

  async #listen(watcher: Deno.FsWatcher, path: string) {
    try {
      for await (const event of watcher) {
        if (this.#watchers.get(path) !== watcher) return;
        this.#take(event, path);
      }
    } catch {
      // The scans go on, and open another one.
      this.#watchers.delete(path);
      this.#identity = undefined;
    }
  }

  #take(event: Deno.FsEvent, path: string) {
    try {
      if (path === this.#directory) {
        this.#inside(event);
        this.#scanSoon();
      } else if (this.#follow()) {
        // Of the parent any event will do: the one about the directory may have been dropped.
        this.#handler.scan();
      }
    } catch (error) {
      reportError(error); // a mistake of the program, not of the watch: not to be hidden
    }
  }

  #inside(event: Deno.FsEvent) {
    if (event.flag === "rescan") return this.#handler.scan();
    for (const path of event.paths) {
      const name = basename(path);
      if (path === this.#directory) {
        if (this.#follow()) this.#handler.scan();
      } else if (name.startsWith("..")) {
        this.#handler.scan(); // Kubernetes' volumes: all files are symlinks through ..data
      } else if (event.kind === "access" || event.kind === "rename") {
        this.#handler.files([name], "whole");
      } else {
        this.later(name, event.kind === "remove" ? this.#times.removeMs : this.#times.quietMs);
      }
    }
  }

  /** A scan when the events pause, or after a while if they do not. */
  #scanSoon() {
    const now = performance.now();
    this.#burstSince ??= now;
    const at = Math.min(now + burstMs.quiet, this.#burstSince + burstMs.longest);
    clearTimeout(this.#burst);
    this.#burst = setTimeout(() => {
      this.#burstSince = undefined;
      const start = performance.now();
      const rest = () => this.#scanNotBefore = performance.now() + 10 * (performance.now() - start);
      void Promise.resolve(this.#handler.scan()).then(rest);
    }, Math.max(at, this.#scanNotBefore) - now);
  }

  #schedule(at: number) {
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#expire(), Math.max(0, at - performance.now()));
  }

  #expire() {
    const now = performance.now() + 1;
    const ready = { quiet: [] as string[], again: [] as string[] };
    let next = Infinity;
    for (const [name, { at, again }] of this.#due) {
      if (at > now) next = Math.min(next, at);
      else {
        this.#due.delete(name);
        ready[again ? "again" : "quiet"].push(name);
      }
    }
    this.#timerAt = Infinity;
    if (next < Infinity) this.#schedule(next);
    if (ready.quiet.length > 0) this.#handler.files(ready.quiet, "quiet");
    if (ready.again.length > 0) this.#handler.files(ready.again, "again");
  }
}
