/** The machine that figures are of. */
import { arch, cpus, totalmem } from "node:os";

export function describeMachine() {
  return {
    processor: cpus()[0]?.model ?? "unknown",
    processors: cpus().length,
    architecture: arch(),
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: Deno.osRelease(),
    system: systemName(),
  };
}

function systemName(): string {
  try {
    const text = Deno.readTextFileSync("/etc/os-release");
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}
