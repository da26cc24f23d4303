/** The metadata of a file by which a changed one is recognized. */
import { statSync } from "node:fs";

export interface Stamp {
  /** Equal while the file is unchanged. */
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
  // Deno.stat has mtime in milliseconds and ctime in seconds only.
  const { dev, ino, size, mtimeMs, ctimeMs } = stat;
  return { key: [dev, ino, size, mtimeMs, ctimeMs].join(":"), size, changedMs: mtimeMs };
}

/** `device:inode` of what is at `path` behind all symlinks; undefined when nothing is. */
export function identityOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}
