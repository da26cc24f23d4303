/**
 * What a test needs from the machine, asked once. A test that cannot run here is ignored with its reason printed, so
 * that it shows as skipped in the closing line and is never silently green.
 */
import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import "./libraries.ts";

const reported = new Set<string>();

function need(ok: boolean, reason: string): boolean {
  if (!ok && !reported.has(reason)) {
    reported.add(reason);
    console.error(`skipped: ${reason}`);
  }
  return ok;
}

/** True when running as root with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN. */
export function root(): boolean {
  const status = readFileSync("/proc/self/status", "utf8");
  const caps = BigInt("0x" + (/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"));
  const wanted = (1n << 12n) | (1n << 21n) | (1n << 39n); // NET_ADMIN, SYS_ADMIN, BPF
  return need(process.getuid?.() === 0 && (caps & wanted) === wanted, "needs root");
}

/** True when the running kernel is at least `major.minor`. */
export function kernel(major: number, minor: number): boolean {
  const [a = 0, b = 0] = Deno.osRelease().split(".").map((part) => parseInt(part, 10));
  return need(a > major || (a === major && b >= minor), `needs Linux ${major}.${minor}`);
}

/** True when `path` exists, e.g. a reference CNI plugin or the built executable. */
export function file(path: string): boolean {
  return need(existsSync(path), `needs ${path}`);
}
