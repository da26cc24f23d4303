/** How a file looks from outside: what tells whether it has to be read again. */
import { statSync } from "node:fs";

export interface Stamp {
  /** Equal for two looks at an untouched file. */
  key: string;
  /** In bytes. */
  size: number;
  /** When content or inode last changed, milliseconds since the epoch. */
  changedMs: number;
}

/** Follows symlinks; undefined when it is no regular file (reading a pipe would block). Throws like stat(2). */
export function stampOf(path: string): Stamp | undefined {
  const { dev, ino, size, mtimeNs, ctimeNs, ...stat } = statSync(path, { bigint: true });
  if ((stat.mode & 0o170000n) !== 0o100000n) return undefined;
  return {
    key: `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`,
    size: Number(size),
    changedMs: Number(ctimeNs / 1_000_000n),
  };
}

/** `device:inode` of what is at `path` behind all symlinks; undefined when nothing is. */
export function identityOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}
