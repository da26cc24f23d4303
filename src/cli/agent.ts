/** `pcnk agent`: runs the node agent. Flags and their help come from the table of settings. */
import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { removeWithDaemonSet, watchRemoval } from "../../install/daemonset.ts";
import { DAEMONSET_VARIABLE } from "../../install/places.ts";
import { runAgent } from "../agent/agent.ts";
import type { Page } from "../agent/http/ui_page.ts";
import { loadConfig, type Values } from "../config/load.ts";
import { type AgentConfig, settings } from "../config/schema.ts";
import { fallbackText, flagName, type Setting } from "../config/setting.ts";

/** The `agent` subcommand. */
export function command() {
  const flags: Values = new Map();
  const command = new Command("agent")
    .description(
      "Run the node agent: install the data plane and keep it in sync with the cluster until SIGTERM or SIGINT. The data " +
        "plane goes on without it.",
    )
    .option("--config <FILE>", "Read settings from this YAML file; flags win over it")
    .addHelpText("after", () => footer())
    .action(async ({ config }) => {
      const loaded = loadConfig(config, flags);
      const control = new AbortController();
      const stop = () => control.abort();
      const daemonSet = Deno.env.get(DAEMONSET_VARIABLE);
      const removal = daemonSet === undefined ? undefined : watchRemoval(daemonSet);
      for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, stop);
      try {
        const load = () => loadConfig(config, flags);
        await runAgent(loaded, {
          signal: control.signal,
          page: makePage,
          configFile: config === undefined ? undefined : { file: config, load },
        });
        if (await removal?.wanted()) await removeWithDaemonSet(loaded);
      } finally {
        removal?.stop();
        for (const signal of ["SIGTERM", "SIGINT"] as const) {
          Deno.removeSignalListener(signal, stop);
        }
      }
      // A request whose answer does not come any more would keep the process until the server gives it up.
      Deno.exit(0);
    });
  for (const setting of settings) command.addOption(flag(setting, flags) as Option);
  return command;
}

/** The page of `pcnk ui`, loaded at the first request. */
async function makePage(config: AgentConfig, key: string, signal: AbortSignal): Promise<Page> {
  const { Ui } = await import("../ui/answer.ts");
  const { concludeService } = await import("./describe.ts");
  const { bpffs, stateDir, nodeName } = config;
  const ui = new Ui({
    bpffs,
    stateDir,
    key,
    signal,
    remote: false,
    node: () => nodeName,
    why: async (name) => ({ findings: await concludeService({ bpffs, stateDir }, name) }),
  });
  return (request, from) => ui.answer(request, from);
}

/** The flag of a setting; its checked value goes into `values`. */
function flag(setting: Setting, values: Values): Option {
  const { key, kind, help } = setting;
  return new Option(
    `${flagName(key)} <${kind.placeholder}>`,
    `${help} (default: ${fallbackText(setting)})`,
  ).argParser((text: string) => {
    try {
      values.set(key, kind.parse(text));
    } catch (error) {
      throw new InvalidArgumentError(`It ${(error as Error).message}.`);
    }
  });
}

function footer(): string {
  return `
Keys of these settings in the file of --config:
${keyList()}

TIME is a number of seconds, or like 90s, 5m, 1h30m.

Example:
  pcnk agent --node-name node1 --kubeconfig /etc/kubernetes/pcnk.kubeconfig

A file of settings for a node without the Kubernetes API:
  nodeName: node1
  uplink: eth0
  manifests: /etc/pcnk/cluster
  mapSizes: {services: 20000}
  timeouts:
    udp: 3m
`;
}

/** The keys, in lines that fit a terminal. */
function keyList(): string {
  const lines: string[] = [];
  for (const { key } of settings) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + key.length < 78) {
      lines[lines.length - 1] = `${last}, ${key}`;
    } else lines.push(`  ${key}`);
  }
  return lines.join(",\n");
}
