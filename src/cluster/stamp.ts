/** How a file looks from outside: what tells whether it has to be read again. */
import { statSync } from "node:fs";

export interface Stamp {
  /** Equal for two looks at an untouched file. */
  key: string;
  /** In bytes. */
  size: number;
  /** When its content last changed, milliseconds since the epoch. */
  changedMs: number;
}

/** Follows symlinks; undefined when it is no regular file (reading a pipe would block). Throws like stat(2). */
export function stampOf(path: string): Stamp | undefined {
  const stat = statSync(path);
  if (!stat.isFile()) return undefined;
  // Deno tells mtime in milliseconds and ctime in seconds only.
  const { dev, ino, size, mtimeMs, ctimeMs } = stat;
  return { key: [dev, ino, size, mtimeMs, ctimeMs].join(":"), size, changedMs: mtimeMs };
}

/** `device:inode` of what is at `path` behind all symlinks; undefined when nothing is. */
export function identityOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}
