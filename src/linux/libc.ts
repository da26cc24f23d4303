/**
 * System calls by FFI, through one symbol: libc's `syscall`. Each symbol that `Deno.dlopen` declares costs a CNI call 0.1 to
 * 0.2 ms, so all kernel interfaces of pcnk share this one, opened at its first use.
 *
 * Limitation: synchronous calls only. They run on the main thread, which `setns` needs; poll.ts has the call that waits.
 */
import { errnoName, errnoText } from "./errno.ts";

export { errnoName, errnoText };

/** Numbers from arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. */
const NUMBERS = {
  x86_64: {
    read: 0,
    write: 1,
    close: 3,
    mmap: 9,
    munmap: 11,
    ioctl: 16,
    fcntl: 72,
    socket: 41,
    connect: 42,
    sendto: 44,
    recvfrom: 45,
    bind: 49,
    listen: 50,
    getsockname: 51,
    setsockopt: 54,
    getsockopt: 55,
    statfs: 137,
    flock: 73,
    setpriority: 141,
    mount: 165,
    umount2: 166,
    clock_gettime: 228,
    accept4: 288,
    openat: 257,
    ppoll: 271,
    unshare: 272,
    eventfd2: 290,
    setns: 308,
    memfd_create: 319,
    membarrier: 324,
    bpf: 321,
  },
  aarch64: {
    read: 63,
    write: 64,
    close: 57,
    mmap: 222,
    munmap: 215,
    ioctl: 29,
    fcntl: 25,
    socket: 198,
    connect: 203,
    sendto: 206,
    recvfrom: 207,
    bind: 200,
    listen: 201,
    getsockname: 204,
    setsockopt: 208,
    getsockopt: 209,
    statfs: 43,
    flock: 32,
    mount: 40,
    umount2: 39,
    clock_gettime: 113,
    accept4: 242,
    openat: 56,
    ppoll: 73,
    unshare: 97,
    eventfd2: 19,
    setns: 268,
    setpriority: 140,
    memfd_create: 279,
    membarrier: 283,
    bpf: 280,
  },
} as const;

/** Numbers of the system calls that pcnk makes, on this machine's architecture. */
export const SYS: Record<keyof typeof NUMBERS["x86_64"], number> = NUMBERS[Deno.build.arch];

/** Name of a system call that `syscall` knows. */
type SyscallName = keyof typeof SYS;

/** An argument: a number (also an address, see `address`), a buffer whose address is passed, or null. */
type SyscallArg = number | Uint8Array<ArrayBuffer> | null;

/** A system call that failed: which one, with the error's number and name. */
export class SyscallError extends Error {
  override readonly name = "SyscallError";
  /** Symbolic name of the error, e.g. `ENOENT`. */
  readonly code: string;

  /**
   * @param syscall what was called, e.g. `setns` or `bpf(BPF_OBJ_GET)`
   * @param errno positive error number
   * @param detail a path, or the kernel's extended ACK
   */
  constructor(readonly syscall: string, readonly errno: number, detail?: string) {
    const code = errnoName(errno);
    super(`${syscall}: ${code}: ${errnoText(errno)}${detail ? ` (${detail})` : ""}`);
    this.code = code;
  }
}

type RawSyscall = (
  number: number,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
) => number;

let raw: RawSyscall | undefined;
let errnoCell: Int32Array;

function openLibc(): RawSyscall {
  const { symbols } = Deno.dlopen("libc.so.6", {
    syscall: {
      parameters: ["i32", "usize", "usize", "usize", "usize", "usize", "usize"],
      result: "i32",
    },
    __errno_location: { parameters: [], result: "pointer" },
  });
  // The thread's errno, read from memory: a call to fetch it could change it.
  errnoCell = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(symbols.__errno_location()!, 4));
  // Typed with bigint, but Deno accepts any safe integer for `usize`, and converts it faster.
  return symbols.syscall as unknown as RawSyscall;
}

/**
 * A system call with plain numbers, for hot paths. Returns the result, or -errno. Results are 32 bits wide, which
 * is too few for `mmap`. The caller keeps buffers alive whose address it passes.
 */
export function rawSyscall(number: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  raw ??= openLibc();
  const result = raw(number, a, b, c, d, e, f);
  return result === -1 ? -errnoCell[0]! : result;
}

/** Buffers of the current call, kept alive here: an address is only a number. */
let _held: readonly SyscallArg[] = [];

/** Makes a system call; returns its result, or -errno. */
export function trySyscall(name: SyscallName, ...args: SyscallArg[]): number {
  _held = args;
  const [a, b, c, d, e, f] = args.map(toNumber);
  const result = rawSyscall(SYS[name], a, b, c, d, e, f);
  _held = [];
  return result;
}

/**
 * Makes a system call and returns its result.
 * @throws {SyscallError} when it fails
 */
export function syscall(name: SyscallName, ...args: SyscallArg[]): number {
  const result = trySyscall(name, ...args);
  if (result < 0) throw new SyscallError(name, -result);
  return result;
}

function toNumber(arg: SyscallArg): number {
  return typeof arg === "number" ? arg : arg === null ? 0 : address(arg);
}

/** The address of a buffer's first byte. Valid while the buffer is referenced: memory of ArrayBuffers does not move. */
export function address(buffer: Uint8Array<ArrayBuffer>): number {
  // `.buffer` first: V8 keeps small arrays on its moving heap until their buffer is asked for.
  if (buffer.buffer.byteLength === 0) return 0;
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer)));
}

const encoder = new TextEncoder();

/**
 * A zero-terminated string.
 * @throws {TypeError} when the text has a NUL inside, which would end it in C
 */
export function cstring(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new TypeError(`NUL in ${JSON.stringify(text)}`);
  return encoder.encode(text + "\0");
}

const AT_FDCWD = -100;
const O_CLOEXEC = 0o2000000;

/** Flags of `openFile`, from include/uapi/asm-generic/fcntl.h. */
export const O = { RDONLY: 0, RDWR: 2, CREAT: 0o100, EXCL: 0o200, PATH: 0o10000000 } as const;

/**
 * Opens a file and returns the kernel's descriptor number, which Deno's files do not expose. Close-on-exec.
 * @throws {SyscallError} e.g. ENOENT
 */
export function openFile(path: string, flags: number = O.RDONLY, mode = 0): number {
  const fd = trySyscall("openat", AT_FDCWD, cstring(path), flags | O_CLOEXEC, mode);
  if (fd < 0) throw new SyscallError("openat", -fd, path);
  return fd;
}

/** errno of the last FFI call on this thread; for calls into other libraries, right after them. */
export function lastErrno(): number {
  raw ??= openLibc();
  return errnoCell[0]!;
}

/** Another descriptor for the same open file. Close-on-exec. */
export function dupFd(fd: number): number {
  const F_DUPFD_CLOEXEC = 1030;
  return syscall("fcntl", fd, F_DUPFD_CLOEXEC, 0);
}

/** Closes a descriptor. Errors are not reported: nothing can be done about them. */
export function closeFd(fd: number): void {
  rawSyscall(SYS.close, fd);
}
