/** Options and checks that several subcommands have. */
import { Option } from "@commander-js/extra-typings";
import { settings } from "../config/schema.ts";

const HELP = {
  bpffs: "Read maps and programs pinned in DIR",
  stateDir: "Read the node's state from DIR",
};

/** A directory of the node, with the default of the agent's setting of that name, or from the environment. */
export function placeOption<const K extends "bpffs" | "stateDir">(key: K, env: string) {
  const { fallback } = settings.find((one) => one.key === key)!;
  const flag = (key === "bpffs" ? "--bpffs <DIR>" : "--state-dir <DIR>") as K extends "bpffs"
    ? "--bpffs <DIR>"
    : "--state-dir <DIR>";
  return new Option(flag, HELP[key]).env(env).default(fallback as string);
}

/** The first format is the default. */
export function outputOption<const F extends string>(formats: readonly F[]) {
  return new Option("-o, --output <FORMAT>", "Output format").choices(formats)
    .default(formats[0]!);
}

/** @throws Error unless it runs as root */
export function requireRoot(command: string, why = "reads the kernel's maps"): void {
  if (Deno.uid() !== 0) throw new Error(`pcnk ${command} ${why}: run it as root`);
}
