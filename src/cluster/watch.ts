/**
 * Watches one directory and says which of its files to look at, and when.
 *
 * Design notes. inotify (through Deno.watchFs) tells of a file being closed after writing ("access") and of renames:
 * then the content is whole and is looked at at once. "modify" and "create" come while a writer is still at work, and
 * "remove" is half of many an editor's way to save: those wait until the file is quiet. inotify watches an inode, so a
 * directory that is replaced by another takes its watch away with it; hence the second watch on its parent, where the
 * replacing shows, and hence the scan now and then, which also mends lost events (overflows, network file systems).
 */
import { basename, dirname } from "node:path";
import { identityOf } from "./stamp.ts";

export interface WatchHandler {
  /** Look at these files of the directory. `forced`: even at those that look untouched. */
  files(names: string[], forced: boolean): void;
  /** Look at all of them. */
  scan(): void;
}

export interface WatchTimes {
  rescanMs: number;
  /** Quiet time after which a file that is written in place, and not closed, is looked at. */
  settleMs: number;
  /** Time after which a removed file counts as gone. */
  removeMs: number;
}

export class DirectoryWatch {
  private readonly watchers = new Map<string, Deno.FsWatcher>();
  private readonly due = new Map<string, { at: number; forced: boolean }>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private timerAt = Infinity;
  private rescan: ReturnType<typeof setInterval> | undefined;
  private identity: string | undefined;

  constructor(
    private readonly directory: string,
    private readonly handler: WatchHandler,
    private readonly times: WatchTimes,
  ) {}

  /** Watches from now on; what is there already is the caller's to read. */
  start() {
    this.open(dirname(this.directory));
    this.follow();
    this.rescan = setInterval(() => {
      this.follow();
      this.handler.scan();
    }, this.times.rescanMs);
  }

  close() {
    clearInterval(this.rescan);
    clearTimeout(this.timer);
    for (const watcher of this.watchers.values()) watcher.close();
    this.watchers.clear();
    this.due.clear();
  }

  /** Looks at a file in `ms` milliseconds, or later if it is touched meanwhile. */
  later(name: string, ms: number, forced = false) {
    const before = this.due.get(name);
    const at = performance.now() + ms;
    this.due.set(name, { at, forced: forced || (before?.forced ?? false) });
    this.schedule(at);
  }

  /** Points the watch at the directory that is there now; true when that is another one than before. */
  private follow(): boolean {
    const identity = identityOf(this.directory);
    if (identity === this.identity) return false;
    this.watchers.get(this.directory)?.close();
    this.watchers.delete(this.directory);
    this.identity = identity !== undefined && this.open(this.directory) ? identity : undefined;
    return true;
  }

  private open(path: string): boolean {
    try {
      const watcher = Deno.watchFs(path, { recursive: false });
      this.watchers.set(path, watcher);
      this.listen(watcher, path);
      return true;
    } catch {
      return false; // not there (any more), or out of inotify watches: the scans go on
    }
  }

  private async listen(watcher: Deno.FsWatcher, path: string) {
    try {
      for await (const event of watcher) {
        if (this.watchers.get(path) !== watcher) return;
        if (path === this.directory) this.inside(event);
        else if (event.paths.some((one) => basename(one) === basename(this.directory))) {
          if (this.follow()) this.handler.scan();
        }
      }
    } catch {
      this.watchers.delete(path);
      this.identity = undefined;
    }
  }

  private inside(event: Deno.FsEvent) {
    if (event.flag === "rescan") return this.handler.scan();
    for (const path of event.paths) {
      const name = basename(path);
      if (path === this.directory) {
        if (this.follow()) this.handler.scan();
      } else if (name.startsWith("..")) {
        this.handler.scan(); // Kubernetes' volumes: all files are symlinks through ..data
      } else if (event.kind === "access" || event.kind === "rename") {
        this.handler.files([name], false);
      } else {
        this.later(name, event.kind === "remove" ? this.times.removeMs : this.times.settleMs);
      }
    }
  }

  private schedule(at: number) {
    if (at >= this.timerAt) return;
    clearTimeout(this.timer);
    this.timerAt = at;
    this.timer = setTimeout(() => this.expire(), Math.max(0, at - performance.now()));
  }

  private expire() {
    const now = performance.now() + 1;
    const ready = { plain: [] as string[], forced: [] as string[] };
    let next = Infinity;
    for (const [name, { at, forced }] of this.due) {
      if (at > now) next = Math.min(next, at);
      else {
        this.due.delete(name);
        ready[forced ? "forced" : "plain"].push(name);
      }
    }
    this.timerAt = Infinity;
    if (next < Infinity) this.schedule(next);
    if (ready.plain.length > 0) this.handler.files(ready.plain, false);
    if (ready.forced.length > 0) this.handler.files(ready.forced, true);
  }
}
