/** `pcnk uninstall`: takes pcnk off this node. */
import { Command } from "@commander-js/extra-typings";
import { readSetOptions } from "../../install/set_options.ts";
import { CONFIG_PATH } from "../../install/texts.ts";
import { uninstall } from "../../install/uninstall.ts";
import { loadConfig, type Values } from "../config/load.ts";
import { settings } from "../config/schema.ts";
import { collect } from "./manifest.ts";

/** The `uninstall` subcommand. */
export function command() {
  return new Command("uninstall")
    .description(
      "Remove pcnk from this node: agent, programs, devices, routes, files and state that are its own, also the rest of an " +
        "earlier uninstall. Running pods keep running, without a network.",
    )
    .option("--all", "Remove all settings and manifests in /etc/pcnk, also your own")
    .option(
      "--set <KEY=VALUE>",
      `Set a setting of the agent that ${CONFIG_PATH} does not have; may be repeated`,
      collect,
      [] as string[],
    )
    .option(
      "--root <DIR>",
      "Uninstall from the system below DIR that is not running, e.g. an image",
    )
    .option("--dry-run", "Print the steps, and do nothing")
    .addHelpText("after", footer)
    .action(async ({ all = false, set, root = "", dryRun = false }) => {
      const say = (line: string) => console.log(line);
      const config = agentConfig(root, set, say);
      await uninstall({
        bpffs: config.bpffs,
        stateDir: config.stateDir,
        cniConfDir: config.cniConfDir ?? "/etc/cni/net.d",
        bridge: config.bridge,
        device: config.overlay.device,
        executable: Deno.execPath(),
        all,
        root,
        dryRun,
        say,
      });
    });
}

/** What things are called here. A file that cannot be read must not keep pcnk on the node. */
function agentConfig(root: string, set: readonly string[], say: (line: string) => void) {
  const given = readSetOptions(set, { own: {} }).settings;
  const values: Values = new Map([["nodeName", "node"]]);
  for (const [key, value] of given) {
    values.set(key, settings.find((one) => one.key === key)!.kind.parse(value));
  }
  const file = root + CONFIG_PATH;
  try {
    Deno.lstatSync(file);
    return loadConfig(file, values);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      say(`note: ${(error as Error).message}; using the defaults`);
    }
    return loadConfig(undefined, values);
  }
}

const footer = `
If a DaemonSet runs the agents, delete that instead: pcnk manifest | kubectl delete -f -
It removes pcnk from every node whose agent runs; for others: pcnk manifest --remove-from NODE | kubectl apply -f -

Examples:
  pcnk uninstall --dry-run
  pcnk uninstall --set bpffs=/sys/fs/bpf/other
`;
