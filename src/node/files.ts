/**
 * Files of a node: read without an exception when there is none, which would cost a CNI call a millisecond or two, and
 * replaced in one moment, which a power cut does not split.
 */
import {
  address,
  closeFd,
  cstring,
  O,
  rawSyscall,
  SYS,
  SyscallError,
  trySyscall,
} from "../linux/libc.ts";

const AT_FDCWD = -100;
const O_CLOEXEC = 0o2000000;
const O_NOFOLLOW = 0o400000;
const ENOENT = -2;

/** The longest file that is read, in bytes: no file of pcnk's state comes near. */
const MAX_BYTES = 1 << 20;

export type JsonObject = Record<string, unknown>;

/** Whether something is at a path, a broken link too. */
export function isThere(path: string): boolean {
  const fd = trySyscall("openat", AT_FDCWD, cstring(path), O.PATH | O_CLOEXEC | O_NOFOLLOW, 0);
  if (fd >= 0) closeFd(fd);
  return fd >= 0;
}

/**
 * The text of a file, undefined when there is none. Symbolic links are not followed.
 * @throws {SyscallError}
 */
export function readIfThere(path: string): string | undefined {
  const fd = trySyscall("openat", AT_FDCWD, cstring(path), O_CLOEXEC | O_NOFOLLOW, 0);
  if (fd === ENOENT) return undefined;
  if (fd < 0) throw new SyscallError("openat", -fd, path);
  try {
    let buffer = new Uint8Array(4096);
    let length = 0;
    while (length < MAX_BYTES) {
      if (length === buffer.length) {
        const larger = new Uint8Array(buffer.length * 4);
        larger.set(buffer);
        buffer = larger;
      }
      const count = rawSyscall(SYS.read, fd, address(buffer) + length, buffer.length - length);
      if (count < 0) throw new SyscallError("read", -count, path);
      if (count === 0) break;
      length += count;
    }
    return new TextDecoder().decode(buffer.subarray(0, length));
  } finally {
    closeFd(fd);
  }
}

/** The JSON object in a text; undefined when it is none: damaged, or a value of another kind. */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether it is a JSON object, and neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The name under which a file is written before it takes its place. Watchers of a folder pass over names that begin
 * with a dot, and no container runtime reads this ending.
 */
export function freshName(name: string): string {
  return `.${name}.new`;
}

/** Replaces a file by a text: readers, and the node after a power cut, have the former content or the new one. */
export function replaceFile(path: string, text: string, mode = 0o600): void {
  replaceWith(path, (fresh) => {
    using file = Deno.openSync(fresh, { write: true, createNew: true, mode });
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
  });
}

/**
 * As `replaceFile()`, with a file or link that `make` makes at the path it is given, content synced.
 * @throws what `make` throws; then the former file is in its place
 */
export function replaceWith(path: string, make: (fresh: string) => void): void {
  const slash = path.lastIndexOf("/");
  const folder = path.slice(0, slash + 1) || ".";
  const fresh = path.slice(0, slash + 1) + freshName(path.slice(slash + 1));
  removeIfThere(fresh); // of a process that was killed
  try {
    make(fresh);
    Deno.renameSync(fresh, path);
  } catch (error) {
    removeIfThere(fresh);
    throw error;
  }
  syncFolder(folder);
}

/** Removes a file for good, also after a power cut; false when there was none. */
export function removeFile(path: string): boolean {
  if (!removeIfThere(path)) return false;
  syncFolder(path.slice(0, path.lastIndexOf("/") + 1) || ".");
  return true;
}

function removeIfThere(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function syncFolder(path: string): void {
  using folder = Deno.openSync(path);
  folder.syncSync();
}
