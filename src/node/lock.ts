/** One agent a node: a lock that ends with its process, however that ends. */
import { closeFd, O, openFile, SyscallError, trySyscall } from "../linux/libc.ts";

const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const EAGAIN = 11;
const EACCES = 13;

/** Another process holds the lock. */
export class LockedError extends Error {
  override readonly name = "LockedError";
}

/**
 * Locks a file, which is made when missing, until `close()` or the end of the process (fcntl(2), open file description
 * locks), and writes this process's id into it.
 *
 * @throws {LockedError} when it is locked
 */
export function lockFile(path: string): { close(): void } {
  const fd = openFile(path, O.RDWR | O.CREAT, 0o600);
  // struct flock: l_type and l_whence are shorts, then start and length (0: to the end) and pid, which are zero.
  const range = new Uint8Array(32);
  new Int16Array(range.buffer)[0] = F_WRLCK;
  const result = trySyscall("fcntl", fd, F_OFD_SETLK, range);
  if (result < 0) {
    closeFd(fd);
    if (result !== -EAGAIN && result !== -EACCES) throw new SyscallError("fcntl", -result, path);
    throw new LockedError(`${path} is locked${owner(path)}`);
  }
  try {
    Deno.writeTextFileSync(path, `${Deno.pid}\n`);
  } catch {
    // A full disk: the lock holds, only its message lacks the process.
  }
  return { close: () => closeFd(fd) };
}

function owner(path: string): string {
  const pid = Deno.readTextFileSync(path).trim();
  return /^\d+$/.test(pid) ? ` by process ${pid}` : "";
}
