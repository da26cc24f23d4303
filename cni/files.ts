/** Reading a file that is as likely not there: without the exception, which costs a CNI call a millisecond or two. */
import {
  address,
  closeFd,
  cstring,
  rawSyscall,
  SYS,
  SyscallError,
  trySyscall,
} from "../src/linux/libc.ts";

const AT_FDCWD = -100;
const O_CLOEXEC = 0o2000000;
const O_NOFOLLOW = 0o400000;
const ENOENT = -2;

/** No file of pcnk's state is as long. */
const LONGEST = 1 << 20;

/**
 * The text of a file, undefined when there is none.
 * @throws {SyscallError}
 */
export function readIfThere(path: string): string | undefined {
  const fd = trySyscall("openat", AT_FDCWD, cstring(path), O_CLOEXEC | O_NOFOLLOW, 0);
  if (fd === ENOENT) return undefined;
  if (fd < 0) throw new SyscallError("openat", -fd, path);
  try {
    let buffer = new Uint8Array(4096);
    let length = 0;
    while (length < LONGEST) {
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
