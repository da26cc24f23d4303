/** glibc's memory allocator. */

let symbols: { malloc_trim(pad: bigint): number } | undefined;

/**
 * Returns freed memory to the kernel (malloc_trim(3)): otherwise the process keeps what decoding a large response needed.
 * Takes some milliseconds. False where libc has no such function (musl).
 */
export function trimMemory(): boolean {
  try {
    symbols ??= Deno.dlopen("libc.so.6", {
      malloc_trim: { parameters: ["usize"], result: "i32" },
    }).symbols;
  } catch {
    return false;
  }
  symbols.malloc_trim(0n);
  return true;
}
