/** Memory that the process holds without need: in V8's heap, and in glibc's allocator. */

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

/**
 * Collects what V8 has no use for, and shrinks its heap. Stops the process for up to half a second with a heap of 150 MB. Does
 * nothing where V8 runs without `--expose-gc`, as from the source.
 */
export function collectGarbage(): void {
  const { gc } = globalThis as { gc?: (options: { type: string; flavor: string }) => void };
  gc?.({ type: "major", flavor: "last-resort" });
}
