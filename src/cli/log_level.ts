/** `pcnk log-level`: what a running agent logs, shown or changed without a restart. */
import { Argument, Command } from "@commander-js/extra-typings";
import { logLevelWords } from "../config/kinds.ts";
import { askAgent, readAgentFile } from "../view/agent.ts";
import { placeOption } from "./options.ts";

/** Milliseconds for the agent to answer. */
const patienceMs = 3000;

/** The `log-level` subcommand. */
export function logLevelCommand() {
  return new Command("log-level")
    .description(
      "Show what the running agent logs, or change it at once. It lasts until the agent ends, or until logLevel changes in its configuration file. Needs root.",
    )
    .addArgument(
      new Argument("[level]", "what to log from now on; without it the level is shown").choices(
        logLevelWords,
      ),
    )
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText("after", help)
    .action(async (level, { stateDir }) => {
      if (Deno.uid() !== 0) {
        throw new Error("pcnk log-level reads the agent's state directory: it must run as root");
      }
      const { healthAddress = "off", token = "" } = readAgentFile(stateDir);
      if (healthAddress === "off") {
        throw new Error(
          "the agent listens nowhere (healthAddress: off); set logLevel in its configuration file",
        );
      }
      const { status, text } = await askAgent(healthAddress, "/debug/log-level", {
        timeoutMs: patienceMs,
        ...(level === undefined ? {} : { put: { token, body: level } }),
      });
      if (status !== 200) throw new Error(`the agent at ${healthAddress}: ${text.trim()}`);
      console.log(level === undefined ? text.trim() : `the agent logs from ${text.trim()} on`);
    });
}

const help = `
The agent's log is one JSON object a line on standard error; level, time and msg are in each. To see it:
journalctl -u pcnk -f, or kubectl -n kube-system logs -f POD.

Examples:
  pcnk log-level              what is it now?
  pcnk log-level debug        also each round of the reconciler, with its milliseconds
  pcnk log-level info
`;
