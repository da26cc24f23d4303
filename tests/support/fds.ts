/** What this process holds open, to see that nothing leaks. */

import { closeFd, openFile } from "../../src/linux/libc.ts";

/** The open descriptors with what they stand for, less the one that reads the list. */
export function openFds(): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      found.push(`${name} ${Deno.readLinkSync(`/proc/self/fd/${name}`)}`);
    } catch {
      // the descriptor of the directory itself
    }
  }
  return found.filter((line) => !/\/proc\/\d+\/fd$/.test(line)).sort();
}

/** Takes every descriptor up to the highest that is open, so that a limit above it counts those to come. */
export function fillFds(): Disposable & { highest: number } {
  const top = Math.max(...openFds().map((line) => parseInt(line)));
  const fillers: number[] = [];
  do fillers.push(openFile("/dev/null")); while (fillers.at(-1)! <= top);
  return { highest: fillers.at(-1)!, [Symbol.dispose]: () => fillers.forEach(closeFd) };
}

const RLIMIT_NOFILE = 7;

/** Runs `fn` while this process may have descriptors below `limit` only. */
export function withFdLimit<T>(limit: number, fn: () => T): T {
  const libc = Deno.dlopen("libc.so.6", {
    prlimit: { parameters: ["i32", "i32", "buffer", "buffer"], result: "i32" },
  });
  const before = new BigUint64Array(2);
  const set = (now: BigUint64Array<ArrayBuffer>, old: BigUint64Array<ArrayBuffer> | null) => {
    if (libc.symbols.prlimit(0, RLIMIT_NOFILE, now, old) !== 0) throw new Error("prlimit failed");
  };
  libc.symbols.prlimit(0, RLIMIT_NOFILE, null, before);
  set(new BigUint64Array([BigInt(limit), before[1]!]), null);
  try {
    return fn();
  } finally {
    set(before, null);
    libc.close();
  }
}
