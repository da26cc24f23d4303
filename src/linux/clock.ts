/** The clock that eBPF programs read with bpf_ktime_get_ns(). */
import { syscall } from "./libc.ts";

const CLOCK_MONOTONIC = 1;

/** Nanoseconds of CLOCK_MONOTONIC; does not advance while the machine sleeps (clock_gettime(2)). */
export function monotonicNow(): bigint {
  const time = new BigInt64Array(2); // struct timespec: seconds, nanoseconds
  syscall("clock_gettime", CLOCK_MONOTONIC, new Uint8Array(time.buffer));
  return time[0]! * 1_000_000_000n + time[1]!;
}
