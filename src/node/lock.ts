/** Locks that end with their process, however that ends: of the one agent of a node, and against CNI calls. */
import { closeFd, O, openFile, SyscallError, trySyscall } from "../linux/libc.ts";

const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
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

/** Milliseconds between attempts. */
const againMs = 20;

/**
 * Takes flock(2) of a file, as CNI calls do (openLock() in attachments.ts), until it is disposed of.
 *
 * @throws {LockedError} when that takes longer than `ms`
 */
export async function lockWithin(path: string, ms: number): Promise<Disposable> {
  const fd = openFile(path, O.RDWR | O.CREAT, 0o600);
  try {
    for (let left = ms;; left -= againMs) {
      const result = trySyscall("flock", fd, LOCK_EX | LOCK_NB);
      if (result === 0) return { [Symbol.dispose]: () => closeFd(fd) };
      if (result !== -EAGAIN) throw new SyscallError("flock", -result, path);
      if (left <= 0) throw new LockedError(`another process, a CNI call, has locked ${path}`);
      await new Promise((done) => setTimeout(done, againMs));
    }
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function owner(path: string): string {
  const pid = Deno.readTextFileSync(path).trim();
  return /^\d+$/.test(pid) ? ` by process ${pid}` : "";
}
