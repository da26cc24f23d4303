/** `lab exec`: a command in a pod, on a node or outside, as if it had been called there. */
import { commandAt, type Place } from "./spawn.ts";
import type { LabStore } from "./state.ts";

const FORWARDED = ["SIGTERM", "SIGHUP"] as const;

/**
 * Runs a command with this process's standard input and outputs.
 *
 * @returns its exit code; 128 + the signal's number when a signal ended it, as shells count.
 */
export async function execAt(store: LabStore, place: Place, where: string, command: string[]) {
  // SIGINT comes from the terminal to both; the command decides what it means.
  const ignore = () => {};
  Deno.addSignalListener("SIGINT", ignore);
  const child = commandAt(place, command, {
    env: environment(store, where),
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  const remove = FORWARDED.map((signal) => {
    const forward = () => child.kill(signal);
    Deno.addSignalListener(signal, forward);
    return () => Deno.removeSignalListener(signal, forward);
  });
  try {
    return (await child.status).code;
  } finally {
    for (const each of remove) each();
    Deno.removeSignalListener("SIGINT", ignore);
  }
}

/** Environment variables of a command. */
function environment(store: LabStore, where: string): Record<string, string> {
  const lab = store.plan.options.name;
  // So that `pcnk` there is the lab's own.
  const PATH = `${store.plan.bin}:${Deno.env.get("PATH") ?? "/usr/sbin:/usr/bin:/sbin:/bin"}`;
  const node = store.plan.nodes.find(({ name }) => name === where);
  if (where === store.plan.outside.name) return { PATH, PCNK_LAB: lab };
  if (!node) return { PATH, PCNK_LAB: lab, PCNK_POD: where };
  return {
    PATH,
    PCNK_LAB: lab,
    PCNK_NODE: where,
    PCNK_BPFFS: node.bpffs,
    PCNK_STATE_DIR: node.dir,
  };
}
