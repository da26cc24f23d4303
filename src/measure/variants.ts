/** Variants of a testbed that carry the same traffic: put on in turns, one at a time, and taken off without a trace. */
import { writeSysctl } from "../linux/sysctl.ts";

/** What is undone in the end; the last comes first. */
export interface Cleanup {
  defer(undo: () => void | Promise<void>): void;
}

/** Something that can be put on the node and taken off without a trace. */
export interface Variant {
  on(): void;
  off(): void;
}

/** Holds at most one variant at a time. */
export class Switch {
  #current: Variant | undefined;

  to(variant: Variant | undefined): void {
    if (variant === this.#current) return;
    this.#current?.off();
    this.#current = variant;
    variant?.on();
  }
}

export const BRIDGE_NETFILTER = "net.bridge.bridge-nf-call-iptables";

/** Why the iptables variant cannot be measured here; undefined when it can. */
export function iptablesMissing(): string | undefined {
  let version: string;
  try {
    const { stdout } = new Deno.Command("iptables", { args: ["--version"] }).outputSync();
    version = new TextDecoder().decode(stdout).trim();
    new Deno.Command("nft", { args: ["--version"], stdout: "null" }).outputSync();
  } catch {
    return "iptables and nft are not installed";
  }
  // The old tables go on tracking connections until their namespace ends, which would slow the plain bridge down.
  return version.includes("nf_tables") ? undefined : `${version} is not the one on nf_tables`;
}

/** Runs a command in a namespace. @throws {Error} with its standard error when it fails */
export function runIn(netns: string, command: string[], stdin = ""): void {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, stdin);
    const { success, stderr } = new Deno.Command("nsenter", {
      args: [`--net=${netns}`, "sh", "-c", 'exec "$@" <"$0"', file, ...command],
      stdin: "null",
    }).outputSync();
    if (!success) throw new Error(`${command.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  } finally {
    Deno.removeSync(file);
  }
}

/** Thousands of connections a second: no shortage of ports, none of what ended connections leave behind. */
export function tuneForManyConnections(netns: string): void {
  writeSysctl("net.ipv4.ip_local_port_range", "1024 65535", netns);
  writeSysctl("net.ipv4.tcp_tw_reuse", "1", netns);
  writeSysctl("net.ipv4.tcp_max_tw_buckets", "1000000", netns);
  // What TCP remembers of each destination would make ten thousand of them slow, whatever carries the packets.
  writeSysctl("net.ipv4.tcp_no_metrics_save", "1", netns);
}
