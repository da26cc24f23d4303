/** Mounting and unmounting the two file systems that pcnk needs: bpffs and cgroup2. */
import { cstring, syscall, SyscallError, trySyscall } from "./libc.ts";

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

const BPF_FS_MAGIC = 0xcafe4a11;
const CGROUP2_SUPER_MAGIC = 0x63677270;

function magic(path: string): number | undefined {
  const buffer = new Uint8Array(256);
  if (trySyscall("statfs", cstring(path), buffer) < 0) return undefined;
  return new Uint32Array(buffer.buffer)[0];
}

/** True when `path` exists and lies on a bpffs. */
export function isBpffs(path: string): boolean {
  return magic(path) === BPF_FS_MAGIC;
}

/** True when `path` exists and lies on a cgroup v2 hierarchy. */
export function isCgroup2(path: string): boolean {
  return magic(path) === CGROUP2_SUPER_MAGIC;
}

function mountAt(path: string, type: string, options: string): void {
  Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  const kind = cstring(type);
  const error = trySyscall("mount", kind, cstring(path), kind, flags, cstring(options));
  if (error < 0) throw new SyscallError("mount", -error, `${type} on ${path}`);
}

/** Mounts a new bpffs at `path`, which is made when missing. Only root may look inside. */
export function mountBpffs(path: string): void {
  mountAt(path, "bpf", "mode=0700");
}

/** Mounts the cgroup v2 hierarchy at `path`, which is made when missing. */
export function mountCgroup2(path: string): void {
  mountAt(path, "cgroup2", "");
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

/** Bind-mounts `source` at `target`, a file or a directory that exists. */
export function bindMount(source: string, target: string): void {
  const MS_BIND = 4096;
  syscall("mount", cstring(source), cstring(target), cstring("none"), MS_BIND, null);
}
