/** Options that several subcommands have. */
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
