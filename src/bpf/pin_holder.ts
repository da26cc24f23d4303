/**
 * Holds every pin of a node by a descriptor, so that a removed pin ends nothing, and pins again what was removed or hidden. A
 * TCX or cgroup link would otherwise end with its pin, and a map that no program uses with all that is in it.
 */
import { closeFd } from "../linux/libc.ts";
import { isBpffs } from "../linux/mount.ts";
import { ensureBpffs } from "./install.ts";
import { hasPin, listPins, NEW_SUFFIX, PIN_DIRECTORIES, replacePin } from "./pins.ts";
import { linkInfo, tryObjGet } from "./syscall.ts";

export class PinHolder implements Disposable {
  /** Descriptors by the pins' paths. */
  readonly #held = new Map<string, number>();
  readonly #bpffs: string;
  #detached = false;

  constructor(bpffs: string) {
    this.#bpffs = bpffs;
  }

  /**
   * Holds what is pinned, and drops links that were detached. Returns the pins that are gone.
   *
   * Costs three directories and a call for each pin that is gone or new.
   */
  look(): string[] {
    const present = new Set(
      PIN_DIRECTORIES.flatMap((part) =>
        listPins(`${this.#bpffs}/${part}`).filter((name) => !name.endsWith(NEW_SUFFIX))
          .map((name) => `${this.#bpffs}/${part}/${name}`)
      ),
    );
    for (const [path, fd] of [...this.#held]) {
      if (!path.startsWith(`${this.#bpffs}/link/`) || !linkInfo(fd).detached) continue;
      this.#drop(path);
      this.#detached = true;
    }
    for (const path of present) if (!this.#held.has(path)) this.#hold(path);
    return [...this.#held.keys()].filter((path) => !present.has(path));
  }

  /** Whether a link was detached since the last call. */
  takeDetached(): boolean {
    const detached = this.#detached;
    this.#detached = false;
    return detached;
  }

  /** Takes what is pinned at these places now, after this process has replaced or removed it. */
  renew(): void {
    for (const path of [...this.#held.keys()]) this.#drop(path);
    this.look();
  }

  /** As `renew`, where this process has removed no map and no program: what of these is gone is still held, and missing. */
  retake(): void {
    for (const path of [...this.#held.keys()]) {
      if (path.startsWith(`${this.#bpffs}/link/`) || hasPin(path)) this.#drop(path);
    }
    this.look();
  }

  /**
   * Pins all again that is gone; mounts a bpffs where there is none, unless that is another container's part.
   * @throws {Error} as ensureBpffs()
   */
  restore(): void {
    ensureBpffs(this.#bpffs);
    for (const path of this.look()) {
      if (!hasPin(path)) replacePin(path, this.#held.get(path)!);
    }
  }

  /** Whether pins can be there at all. */
  get mounted(): boolean {
    return isBpffs(this.#bpffs);
  }

  #hold(path: string): void {
    const fd = tryObjGet(path);
    if (fd !== undefined) this.#held.set(path, fd);
  }

  #drop(path: string): void {
    closeFd(this.#held.get(path)!);
    this.#held.delete(path);
  }

  [Symbol.dispose](): void {
    for (const path of [...this.#held.keys()]) this.#drop(path);
  }
}
