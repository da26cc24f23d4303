/** `pcnk install`: puts pcnk onto this node. */
import { Command } from "@commander-js/extra-typings";
import { install } from "../../install/install.ts";
import { DEFAULT_BIN_DIR } from "../../install/plan.ts";
import { absolutePath, readSetOptions } from "../../install/set_options.ts";
import { UsageError } from "./usage.ts";
import { collect } from "./manifest.ts";

/** The `install` subcommand. */
export function command() {
  const command = new Command("install")
    .description(
      "Install pcnk on this node: CNI plugin, command line, kernel parameters, and the agent as a systemd service. " +
        "If it is installed, upgrade it in place, without an interruption of packets or CNI calls.",
    )
    .option("--kubeconfig <FILE>", "Kubeconfig of the agent")
    .option("--node-name <NAME>", "Name of this node in the cluster")
    .option(
      "--set <KEY=VALUE>",
      "Set a setting of the agent; may be repeated",
      collect,
      [] as string[],
    )
    .option("--no-agent", "Install the CNI plugins only, where a DaemonSet runs the agent")
    .option("--cni-bin-dir <DIR>", "Plugin directory of the container runtime", DEFAULT_BIN_DIR)
    .option("--root <DIR>", "Install into the system below DIR that is not running, e.g. an image")
    .option(
      "--clean",
      "Remove chains, devices and configurations of kube-proxy and other networks",
    )
    .option("--dry-run", "Print the steps, and do nothing")
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
Settings are written to /etc/pcnk/config.yaml, which you can edit; pcnk agent --help lists them.
pcnk uninstall removes everything.
--clean is for a node that had another network or kube-proxy: delete their DaemonSets first, or they write it again.

Examples:
  pcnk install --kubeconfig /etc/pcnk/kubeconfig
  pcnk install --set manifests=/etc/pcnk/cluster --node-name node1     without a Kubernetes API
`;
