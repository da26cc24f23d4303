/** `pcnk install`: puts pcnk onto this node. */
import { Command } from "@commander-js/extra-typings";
import { install } from "../../install/install.ts";
import { DEFAULT_BIN_DIR } from "../../install/plan.ts";
import { absolutePath, readSetOptions } from "../../install/set_options.ts";
import { UsageError } from "./usage.ts";
import { collect } from "./manifest.ts";

/** The `install` subcommand. */
export function installCommand() {
  const command = new Command("install")
    .description(
      "Put pcnk onto this node: plugin, command line, kernel parameters, and the agent as a service of systemd. " +
        "Called again it upgrades in place: packets and CNI calls go on meanwhile.",
    )
    .option("--kubeconfig <FILE>", "how the agent reaches the Kubernetes API")
    .option("--node-name <NAME>", "this node's name in the cluster")
    .option("--set <KEY=VALUE>", "a setting of the agent; may be repeated", collect, [] as string[])
    .option("--no-agent", "plugins only; something else runs the agent, such as a DaemonSet")
    .option("--cni-bin-dir <DIR>", "where the container runtime looks for plugins", DEFAULT_BIN_DIR)
    .option("--root <DIR>", "install into a system below DIR that does not run, e.g. an image")
    .option(
      "--clean",
      "take away what kube-proxy and other networks left: chains, devices, configurations",
    )
    .option("--dry-run", "tell what would be done, and do nothing")
    .addHelpText("after", footer)
    .action(
      (
        { kubeconfig, nodeName, set, agent, cniBinDir, root = "", clean = false, dryRun = false },
      ) => {
        const binDir = checkedPath(cniBinDir);
        const words = [
          ...set,
          ...(kubeconfig === undefined ? [] : [`kubeconfig=${kubeconfig}`]),
          ...(nodeName === undefined ? [] : [`nodeName=${nodeName}`]),
        ];
        const { settings } = readSetOptions(words, { own: {} });
        const say = (line: string) => console.log(line);
        install({ settings, noAgent: !agent, cniBinDir: binDir, root, clean, dryRun, say });
      },
    );
  return command;
}

/** A slash at the end is as good. */
function checkedPath(given: string): string {
  const path = given.replace(/\/+$/, "");
  try {
    absolutePath(path);
    return path;
  } catch (error) {
    throw new UsageError(`--cni-bin-dir ${given}: ${(error as Error).message}`);
  }
}

const footer = `
Settings go to /etc/pcnk/config.yaml, where they can be edited as well; pcnk agent --help lists them.
pcnk uninstall takes everything away again.
--clean is for a machine that had another network or kube-proxy: delete their DaemonSets first, or they write it all anew.

Examples:
  pcnk install --kubeconfig /etc/pcnk/kubeconfig
  pcnk install --set manifests=/etc/pcnk/cluster --node-name node1     without a Kubernetes API
`;
