/**
 * Durations of CNI calls: the plugin pushes each into a pinned queue, the agent pops them. A push is two system calls, atomic
 * among concurrent plugins, and needs no agent: the queue keeps the last 4096.
 */
import { closeFd } from "../linux/libc.ts";
import { CNI_VERB, cniCall, queues } from "./layout.ts";
import { mapPin } from "./pins.ts";
import { queuePop, queuePush, tryObjGet } from "./syscall.ts";

/** A completed call. */
export interface CniCall {
  verb: keyof typeof CNI_VERB;
  /** From the start of the plugin's runtime; the kernel's start of the process, some 10 to 20 ms, is not in it. */
  seconds: number;
  failed: boolean;
}

/** Pushes a call, where a data plane is installed. @throws {SyscallError} */
export function pushCall(bpffs: string, { verb, seconds, failed }: CniCall): void {
  const fd = tryObjGet(mapPin(bpffs, queues.cni_calls.name));
  if (fd === undefined) return;
  try {
    const bytes = new Uint8Array(cniCall.size);
    const microseconds = Math.min(Math.round(seconds * 1e6), 0xffff_ffff);
    const value = { microseconds, verb: CNI_VERB[verb], failed: +failed };
    cniCall.encode(value, new DataView(bytes.buffer), 0);
    queuePush(fd, bytes);
  } finally {
    closeFd(fd);
  }
}

/** Pops all calls, the oldest first. @throws {SyscallError} */
export function takeCalls(bpffs: string): CniCall[] {
  const fd = tryObjGet(mapPin(bpffs, queues.cni_calls.name));
  if (fd === undefined) return [];
  const verbs = Object.keys(CNI_VERB) as CniCall["verb"][];
  const found: CniCall[] = [];
  const bytes = new Uint8Array(cniCall.size);
  try {
    while (queuePop(fd, bytes)) {
      const { microseconds, verb, failed } = cniCall.decode(new DataView(bytes.buffer), 0);
      const known = verbs.find((name) => CNI_VERB[name] === verb);
      if (known === undefined) continue; // of a later version of pcnk
      found.push({ verb: known, seconds: microseconds / 1e6, failed: failed !== 0 });
    }
    return found;
  } finally {
    closeFd(fd);
  }
}
