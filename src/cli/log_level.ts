/** `pcnk log-level`: what a running agent logs, shown or changed without a restart. */
import { Argument, Command } from "@commander-js/extra-typings";
import { logLevelWords } from "../config/kinds.ts";
import { askAgent, readAgentFile } from "../view/agent.ts";
import { placeOption, requireRoot } from "./options.ts";

/** Milliseconds to wait for the agent. */
const patienceMs = 3000;

/** The `log-level` subcommand. */
export function command() {
  return new Command("log-level")
    .description(
      "Show or set the log level of the running agent, until it stops or logLevel changes in its configuration file. Needs root.",
    )
    .addArgument(
      new Argument("[level]", "Level to set; if omitted, show the level").choices(
        logLevelWords,
      ),
    )
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText("after", help)
    .action(async (level, { stateDir }) => {
      requireRoot("log-level", "reads the agent's state directory");
      const { healthAddress = "off", token = "" } = readAgentFile(stateDir);
      if (healthAddress === "off") {
        throw new Error(
          "the agent listens nowhere (healthAddress: off); set logLevel in its configuration file",
        );
      }
      const { status, text } = await askAgent(healthAddress, "/debug/log-level", {
        timeoutMs: patienceMs,
        put: level === undefined ? undefined : { token, body: level },
      });
      if (status !== 200) throw new Error(`the agent at ${healthAddress}: ${text.trim()}`);
      console.log(level === undefined ? text.trim() : `the agent logs from ${text.trim()} on`);
    });
}

const help = `
The agent logs JSON lines with level, time and msg on standard error. To read them:
journalctl -u pcnk -f, or kubectl -n kube-system logs -f POD.

Examples:
  pcnk log-level              show the level
  pcnk log-level debug        also each sync, with its duration
  pcnk log-level info
`;
