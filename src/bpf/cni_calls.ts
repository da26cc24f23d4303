/**
 * How long calls of the CNI plugin took: the plugin pushes each into a pinned queue when it is done, the agent takes them out.
 * Two system calls for a plugin that lives for milliseconds, atomic although many run at once, and no agent is needed: the
 * queue keeps the last 4096.
 */
import { closeFd } from "../linux/libc.ts";
import { struct, u16, u32, type ValueOf } from "./codec.ts";
import { mapPin } from "./pins.ts";
import { queuePop, queuePush, tryObjGet } from "./syscall.ts";

/** Name of the queue; it has no keys. */
export const CNI_CALLS = "cni_calls";

/** Verbs by their number less one. */
export const CNI_VERBS = ["ADD", "CHECK", "DEL", "GC", "STATUS"] as const;

/** struct cni_call */
export const cniCall = struct("cni_call", { microseconds: u32, verb: u16, failed: u16 });

/** A call that is over. */
export interface CniCall {
  verb: typeof CNI_VERBS[number];
  /** From the start of the plugin's runtime; the kernel's start of the process, some 10 to 20 ms, is not in it. */
  seconds: number;
  failed: boolean;
}

/** Tells of a call, where a data plane is installed. @throws {SyscallError} */
export function pushCall(bpffs: string, { verb, seconds, failed }: CniCall): void {
  const fd = tryObjGet(mapPin(bpffs, CNI_CALLS));
  if (fd === undefined) return;
  try {
    const bytes = new Uint8Array(cniCall.size);
    const value: ValueOf<typeof cniCall> = {
      microseconds: Math.min(Math.round(seconds * 1e6), 0xffff_ffff),
      verb: CNI_VERBS.indexOf(verb) + 1,
      failed: +failed,
    };
    cniCall.encode(value, new DataView(bytes.buffer), 0);
    queuePush(fd, bytes);
  } finally {
    closeFd(fd);
  }
}

/** Takes all calls out of the queue, the oldest first. @throws {SyscallError} */
export function takeCalls(bpffs: string): CniCall[] {
  const fd = tryObjGet(mapPin(bpffs, CNI_CALLS));
  if (fd === undefined) return [];
  const found: CniCall[] = [];
  const bytes = new Uint8Array(cniCall.size);
  try {
    while (queuePop(fd, bytes)) {
      const { microseconds, verb, failed } = cniCall.decode(new DataView(bytes.buffer), 0);
      const known = CNI_VERBS[verb - 1];
      if (known === undefined) continue; // of a later version of pcnk
      found.push({ verb: known, seconds: microseconds / 1e6, failed: failed !== 0 });
    }
    return found;
  } finally {
    closeFd(fd);
  }
}
