/** How much of the processors this process wants when others want them too. */
import { trySyscall } from "./libc.ts";

const PRIO_PROCESS = 0;
const NICEST = 19;

/**
 * Gives way to everybody else: nice 19, which may always be asked for (setpriority(2)). Linux has the value for each
 * thread; new ones take it over from the one that makes them. A thread that has ended meanwhile is passed over.
 */
export function giveWay(): void {
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    trySyscall("setpriority", PRIO_PROCESS, Number(name), NICEST);
  }
}
