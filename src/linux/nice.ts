/** The scheduling priority of this process. */
import { trySyscall } from "./libc.ts";

const PRIO_PROCESS = 0;
const NICEST = 19;

/**
 * Lowers the priority to nice 19, which needs no privilege (setpriority(2)). Linux keeps the value for each thread, and new
 * ones inherit it. A thread that has ended meanwhile is passed over.
 */
export function lowerPriority(): void {
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    trySyscall("setpriority", PRIO_PROCESS, Number(name), NICEST);
  }
}
