/**
 * Processes that outlive the command that started them: who they are (a pid alone may be another process's by now
 * meanwhile), whether they live, and ending them and waiting for it. Signals go through pidfds (pidfd_open(2)), so they
 * never reach another process.
 */
import { closeFd, rawSyscall, SyscallError } from "../linux/libc.ts";
import { pollInThread } from "../linux/poll.ts";

/** A process for good: its pid with the time it was started, in clock ticks since boot (proc(5), stat field 22). */
export interface ProcessId {
  pid: number;
  startTime: number;
}

// The same number on all architectures (include/uapi/asm-generic/unistd.h).
const PIDFD_SEND_SIGNAL = 424;
const PIDFD_OPEN = 434;
const ESRCH = 3;
const SIGNALS = { SIGKILL: 9, SIGTERM: 15 } as const;

/** The identity of a running process; undefined when there is none, or only its zombie. */
export function identify(pid: number): ProcessId | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The command's name stands in parentheses and may hold anything; fields 3 (state) and on come after the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  return { pid, startTime: Number(fields[19]) };
}

/** Whether this very process is still running. */
export function isAlive({ pid, startTime }: ProcessId): boolean {
  return identify(pid)?.startTime === startTime;
}

function readProc(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined; // It is gone, now or in the midst of reading.
  }
}

/** How a process came to its end. */
export type Ending = "was gone" | "ended" | "killed";

/**
 * Ends a process with SIGTERM, after `graceMs` with SIGKILL, and waits until it is gone. With `graceMs` 0 it is killed at
 * once.
 *
 * @throws Error when it is still there 5 s after SIGKILL, stuck in the kernel.
 */
export async function endProcess(id: ProcessId, graceMs: number): Promise<Ending> {
  const fd = rawSyscall(PIDFD_OPEN, id.pid);
  if (fd === -ESRCH) return "was gone";
  if (fd < 0) throw new SyscallError("pidfd_open", -fd, `pid ${id.pid}`);
  try {
    // Asked after opening: from here on the descriptor is that of this process and no later one.
    if (!isAlive(id)) return "was gone";
    if (graceMs > 0) {
      signal(fd, "SIGTERM");
      if (await pollInThread(fd, graceMs)) return "ended";
    }
    signal(fd, "SIGKILL");
    if (await pollInThread(fd, 5000)) return "killed";
    throw new Error(`process ${id.pid} does not end, not even by SIGKILL`);
  } finally {
    closeFd(fd);
  }
}

function signal(pidfd: number, name: keyof typeof SIGNALS): void {
  const result = rawSyscall(PIDFD_SEND_SIGNAL, pidfd, SIGNALS[name]);
  if (result < 0 && result !== -ESRCH) throw new SyscallError("pidfd_send_signal", -result);
}

/** The identity of a network namespace: device and inode of its file; undefined when there is no namespace at `path`. */
export function netnsKey(path: string): string | undefined {
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** All processes whose network namespace is among `keys` (of netnsKey). */
export function processesIn(keys: Set<string>): ProcessId[] {
  const own = netnsKey("/proc/self/ns/net");
  const found: ProcessId[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const key = netnsKey(`/proc/${name}/ns/net`);
    // Never those that share the namespace of this process: then the lab's is not one of its own.
    if (key === undefined || key === own || !keys.has(key)) continue;
    const id = identify(Number(name));
    if (id) found.push(id);
  }
  return found;
}
