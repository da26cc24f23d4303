/**
 * Running commands inside a node or a pod: nsenter(1) for the network namespace, a cgroup of its own. Nothing else is
 * changed, mounts and /sys stay the host's, so that every node's bpffs is visible.
 */

/** Where a command runs. */
export interface Place {
  netnsPath: string;
  /** An existing cgroup2 folder to run in; null: wherever the caller is. */
  cgroup: string | null;
}

// Each word the shell needs is an argument, never part of the script.
const SCRIPT = [
  'test -z "$1" || echo $$ >"$1/cgroup.procs" || exit 125',
  'test -z "$2" || exec 2>>"$2"',
  'shift 2; exec "$@"',
].join("\n");

/** The command line that runs `command` at a place; `log`, when given, takes its standard error. All by exec: one pid. */
export function enter(place: Place, command: string[], log?: string): string[] {
  const shell = ["sh", "-c", SCRIPT, "sh", place.cgroup ?? "", log ?? "", ...command];
  return ["nsenter", `--net=${place.netnsPath}`, "--", ...shell];
}

/** A Deno.Command for `enter`. */
export function commandAt(
  place: Place,
  command: string[],
  options: Deno.CommandOptions & { log?: string } = {},
): Deno.Command {
  const { log, ...rest } = options;
  const [program, ...args] = enter(place, command, log);
  return new Deno.Command(program!, { ...rest, args });
}
