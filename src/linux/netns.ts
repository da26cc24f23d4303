/**
 * Network namespaces: runs a function within one, makes and removes named ones as `ip netns` does.
 *
 * Limitation: `setns` moves the main thread only, and a pool thread that Deno starts meanwhile stays in that namespace. So a
 * function that runs within is synchronous and makes FFI calls only: it opens a socket, which remains of the namespace it
 * was opened in.
 */
import { closeFd, cstring, O, openFile, syscall, SyscallError, trySyscall } from "./libc.ts";

const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096;
const MS_REC = 16384;
const MS_SHARED = 1 << 20;
const EINVAL = 22;
const MNT_DETACH = 2;
const OWN_NETNS = "/proc/thread-self/ns/net";

/** The folder where `ip netns` mounts named network namespaces. */
export const NETNS_DIR = "/run/netns";

/** The path of a named network namespace. */
export function netnsPath(name: string): string {
  if (!/^[A-Za-z0-9_.-]{1,200}$/.test(name) || name === "." || name === "..") {
    throw new TypeError(`not a name of a network namespace: ${JSON.stringify(name)}`);
  }
  return `${NETNS_DIR}/${name}`;
}

/**
 * Runs `fn` within the network namespace at `path` (`/run/netns/x`, `/proc/PID/ns/net`) and returns to the present one,
 * also when it throws. `fn` must be synchronous and call nothing but FFI.
 * @throws {SyscallError} ENOENT when there is no such file, EINVAL when it is no network namespace
 */
export function withNetns<T>(path: string, fn: () => T): T {
  const target = openFile(path);
  try {
    return away(() => {
      const error = trySyscall("setns", target, CLONE_NEWNET);
      if (error < 0) throw new SyscallError("setns", -error, path);
      return fn();
    });
  } finally {
    closeFd(target);
  }
}

/** Runs `fn` within a new network namespace, which is gone with the last descriptor from there; see `withNetns`. */
export function inNewNetns<T>(fn: () => T): T {
  return away(() => {
    syscall("unshare", CLONE_NEWNET);
    return fn();
  });
}

/** Runs `fn`, which may change the thread's network namespace, and returns to the present one. */
function away<T>(fn: () => T): T {
  const home = openFile(OWN_NETNS);
  try {
    const result = fn();
    if (result instanceof Promise) throw new TypeError("a function inside a netns must be sync");
    return result;
  } finally {
    try {
      syscall("setns", home, CLONE_NEWNET);
    } finally {
      closeFd(home);
    }
  }
}

/**
 * Makes /run/netns a shared mount of its own, as the first `ip netns add` of a boot does. Where it is none, a later `ip netns
 * add` puts that mount above the namespaces that are there, and these can be neither entered nor removed any more.
 */
function shareDirectory(): void {
  Deno.mkdirSync(NETNS_DIR, { recursive: true, mode: 0o755 });
  using directory = Deno.openSync(NETNS_DIR);
  directory.lockSync(true); // iproute2 locks it as well
  const [none, path] = [cstring("none"), cstring(NETNS_DIR)];
  const share = () => trySyscall("mount", none, path, none, MS_SHARED | MS_REC, null);
  if (share() !== -EINVAL) return; // a mount, or one that this process may not change
  syscall("mount", path, path, none, MS_BIND | MS_REC, null);
  share();
}

/**
 * Makes a named network namespace, like `ip netns add`, and returns its path.
 * @throws {SyscallError} EEXIST when the name is taken
 */
export function createNetns(name: string): string {
  const path = netnsPath(name);
  shareDirectory();
  closeFd(openFile(path, O.CREAT | O.EXCL));
  try {
    away(() => {
      syscall("unshare", CLONE_NEWNET);
      syscall("mount", cstring(OWN_NETNS), cstring(path), cstring("none"), MS_BIND, null);
    });
  } catch (error) {
    Deno.removeSync(path);
    throw error;
  }
  return path;
}

/**
 * Removes a named network namespace, which exists on while a process or a descriptor refers to it. False when there was
 * none. Removes a file that a crash left without a namespace on it, too.
 */
export function deleteNetns(name: string): boolean {
  const path = netnsPath(name);
  const error = trySyscall("umount2", cstring(path), MNT_DETACH);
  // EINVAL: not mounted, only the file is there.
  if (error < 0 && error !== -2 && error !== -22) throw new SyscallError("umount2", -error, path);
  try {
    Deno.removeSync(path);
  } catch (failure) {
    if (failure instanceof Deno.errors.NotFound) return false;
    throw failure;
  }
  return true;
}

/** Names of the named network namespaces. */
export function listNetns(): string[] {
  try {
    return Array.from(Deno.readDirSync(NETNS_DIR), (entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
