/** Mounting and unmounting bpffs, and knowing it and cgroup2 when they are there. */
import { cstring, SyscallError, trySyscall } from "./libc.ts";

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_REMOUNT = 32;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

const ST_RDONLY = 1n;

const BPF_FS_MAGIC = 0xcafe4a11;
const CGROUP2_SUPER_MAGIC = 0x63677270;

interface FileSystem {
  /** Of linux/magic.h. */
  type: number;
  readOnly: boolean;
  /** No block or no inode is free. */
  full: boolean;
}

/** The file system of `path`, by statfs(2); undefined: it cannot be asked. */
export function fileSystem(path: string): FileSystem | undefined {
  const buffer = new Uint8Array(256);
  if (trySyscall("statfs", cstring(path), buffer) < 0) return undefined;
  // f_type, f_bsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_fsid, f_namelen, f_frsize, f_flags
  const [type, , blocks, freeBlocks, , files, freeFiles, , , , flags] = new BigUint64Array(
    buffer.buffer,
  ) as unknown as bigint[];
  return {
    type: Number(type),
    readOnly: (flags! & ST_RDONLY) !== 0n,
    full: (blocks! > 0n && freeBlocks === 0n) || (files! > 0n && freeFiles === 0n),
  };
}

/** True when `path` exists and lies on a bpffs. */
export function isBpffs(path: string): boolean {
  return fileSystem(path)?.type === BPF_FS_MAGIC;
}

/** True when `path` exists and lies on a cgroup v2 hierarchy. */
export function isCgroup2(path: string): boolean {
  return fileSystem(path)?.type === CGROUP2_SUPER_MAGIC;
}

/**
 * Where the agent mounts cgroup v2 on a machine that has only v1: the hierarchy is always there, and all processes are in its
 * root.
 */
export const OWN_CGROUP2 = "/run/pcnk-cgroup2";

/** Mounts cgroup v2 there, when it is not yet. @throws {SyscallError} */
export function mountOwnCgroup2(): void {
  if (isCgroup2(OWN_CGROUP2)) return;
  Deno.mkdirSync(OWN_CGROUP2, { recursive: true, mode: 0o755 });
  const type = cstring("cgroup2");
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  const error = trySyscall("mount", type, cstring(OWN_CGROUP2), type, flags, 0);
  if (error < 0) throw new SyscallError("mount", -error, `cgroup2 on ${OWN_CGROUP2}`);
}

/** Mounts a new bpffs at `path`, which is made when missing. Only root may look inside. @throws {SyscallError} */
export function mountBpffs(path: string): void {
  Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  const type = cstring("bpf");
  const error = trySyscall("mount", type, cstring(path), type, flags, cstring("mode=0700"));
  if (error < 0) throw new SyscallError("mount", -error, `bpf on ${path}`);
}

/** Makes a bpffs that is mounted read-only writable. @throws {SyscallError} */
export function remountBpffs(path: string): void {
  const flags = MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  const type = cstring("bpf");
  const error = trySyscall("mount", type, cstring(path), type, flags, 0);
  if (error < 0) throw new SyscallError("mount", -error, `remount ${path}`);
}

/**
 * Unmounts what is mounted at `path`; with `lazy`, also while it is in use. Returns false when nothing is mounted there.
 * @throws {SyscallError} EBUSY
 */
export function umount(path: string, options: { lazy?: boolean } = {}): boolean {
  const flags = UMOUNT_NOFOLLOW | (options.lazy ? MNT_DETACH : 0);
  const error = trySyscall("umount2", cstring(path), flags);
  if (error === -22 || error === -2) return false;
  if (error < 0) throw new SyscallError("umount2", -error, path);
  return true;
}
