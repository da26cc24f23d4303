/** Options that several subcommands have. */
import { Option } from "@commander-js/extra-typings";
import { settings } from "../config/schema.ts";

/** A directory of the node: the agent's setting of that name, its default included, or from the environment. */
export function placeOption<const K extends "bpffs" | "stateDir">(key: K, env: string) {
  const { help, fallback } = settings.find((one) => one.key === key)!;
  const flag = (key === "bpffs" ? "--bpffs <DIR>" : "--state-dir <DIR>") as K extends "bpffs"
    ? "--bpffs <DIR>"
    : "--state-dir <DIR>";
  return new Option(flag, help.split(";")[0]).env(env).default(fallback as string);
}
