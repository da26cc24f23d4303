/** What the figures depend on besides pcnk. */
import { loadavg } from "node:os";
import { run } from "../../src/build/steps.ts";
import { describeMachine as describeHardware } from "../../src/measure/machine.ts";

export type Machine = ReturnType<typeof describeMachine>;

export function describeMachine() {
  return {
    ...describeHardware(),
    date: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
    deno: Deno.version.deno,
    iptables: attempt("iptables", ["--version"]),
    /** As a new namespace has it. */
    bridgeNetfilter: attempt("cat", ["/proc/sys/net/bridge/bridge-nf-call-iptables"]),
    commit: commit(),
    /** Of the minute before the run: others at work make every spread wider. */
    load: loadavg()[0]!,
  };
}

/** Twelve digits. */
export function commit(): string {
  const id = attempt("git", ["rev-parse", "--short=12", "HEAD"]);
  const changed = attempt("git", ["status", "--porcelain", "--untracked-files=no"]);
  return changed === "" ? id : `${id} with changes`;
}

function attempt(command: string, args: string[]): string {
  try {
    return run(command, args);
  } catch {
    return "unknown";
  }
}
