/** What the figures depend on besides pcnk. */
import { cpus, loadavg, totalmem } from "node:os";
import { readFileSync } from "node:fs";
import { run } from "../../src/build/steps.ts";

export interface Machine {
  date: string;
  cpu: string;
  cpus: number;
  memoryGB: number;
  kernel: string;
  distribution: string;
  deno: string;
  iptables: string;
  /** net.bridge.bridge-nf-call-iptables, as a new namespace has it. */
  bridgeNetfilter: string;
  commit: string;
  /** Of the minute before the run: others at work make every spread wider. */
  load: number;
}

export function describeMachine(): Machine {
  return {
    date: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    kernel: Deno.osRelease(),
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(read("/etc/os-release"))?.[1] ?? "unknown",
    deno: Deno.version.deno,
    iptables: attempt("iptables", ["--version"]),
    bridgeNetfilter: read("/proc/sys/net/bridge/bridge-nf-call-iptables").trim() || "not there",
    commit: commit(),
    load: loadavg()[0]!,
  };
}

function commit(): string {
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

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
