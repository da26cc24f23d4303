/** Memory that is shared with the kernel through a descriptor: mmap(2). */
import { lastErrno, SyscallError } from "./libc.ts";

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

const SYMBOLS = {
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  getpagesize: { parameters: [], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

let symbols: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function libc() {
  return symbols ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** Bytes of a page of this machine. */
export function pageSize(): number {
  return libc().getpagesize();
}

/** Mapped memory. Touching the buffer after `unmap` crashes the process. */
export interface MappedMemory {
  readonly buffer: ArrayBuffer;
  unmap(): void;
}

/**
 * Maps `length` bytes of a descriptor's object.
 * @param options.offset in bytes, a multiple of the page size
 * @throws {SyscallError}
 */
export function mapMemory(
  fd: number,
  length: number,
  options: { offset?: number; writable?: boolean } = {},
): MappedMemory {
  const protection = PROT_READ | (options.writable ? PROT_WRITE : 0);
  const offset = BigInt(options.offset ?? 0);
  const pointer = libc().mmap(0n, BigInt(length), protection, MAP_SHARED, fd, offset);
  if (pointer === null || Deno.UnsafePointer.value(pointer) === 0xffff_ffff_ffff_ffffn) {
    throw new SyscallError("mmap", lastErrno());
  }
  return {
    buffer: Deno.UnsafePointerView.getArrayBuffer(pointer, length),
    unmap: () => void libc().munmap(pointer, BigInt(length)),
  };
}
