/** `pcnk ui`: what the other commands show, as a page in a browser. */
import { Command, Option } from "@commander-js/extra-typings";
import { existsSync } from "node:fs";
import { splitHostPort } from "../net/host_port.ts";
import { readState } from "../node/state_files.ts";
import { serveUi } from "../ui/serve.ts";
import { concludeService } from "./describe.ts";
import { placeOption, requireRoot } from "./options.ts";
import { SignalError, untilSignal } from "./signals.ts";
import { checked, UsageError } from "./usage.ts";

/** The `ui` subcommand. */
export function command() {
  return new Command("ui")
    .description(
      "Serve a web page of this node: topology, traffic, drops, sessions, events. Read-only; works without a running agent. " +
        "Needs root.",
    )
    .addOption(
      new Option("--listen <HOST:PORT>", "Listen here; port 0: any free port")
        .argParser(checked(listen)).default("127.0.0.1:9880"),
    )
    .addOption(
      new Option(
        "--allow-remote",
        "Allow --listen at an address that is not loopback, without TLS",
      ),
    )
    .option(
      "--kubeconfig <FILE>",
      "Read objects from the API server of this file, to explain Services without backends",
    )
    .option("--manifests <DIR>", "Read objects from this directory instead")
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText("after", help)
    .action(({ listen, allowRemote, kubeconfig, manifests, bpffs, stateDir }) => {
      requireRoot("ui");
      for (const [flag, path] of [["--kubeconfig", kubeconfig], ["--manifests", manifests]]) {
        if (path !== undefined && !existsSync(path)) {
          throw new UsageError(`${flag} ${path} is not there`);
        }
      }
      const where = {
        bpffs,
        stateDir,
        kubeconfig,
        manifests,
      };
      const ui = {
        bpffs,
        stateDir,
        listen,
        remote: allowRemote === true,
        node: () => readState(stateDir, "agent")?.nodeName ?? Deno.hostname(),
        why: async (name: string) => ({ findings: await concludeService(where, name) }),
        ready: (url: string) => console.log(`open ${url}   (Ctrl-C ends it)`),
      };
      return untilSignal(async (signal) => {
        await serveUi(ui, signal);
        // Ctrl-C is the regular end.
        if ((signal.reason as SignalError).signal !== "SIGINT") throw signal.reason;
      });
    });
}

const help = `
The printed address holds a key, without which the page shows nothing. From another machine:
  ssh -L 9880:127.0.0.1:9880 NODE

Examples:
  pcnk ui
  pcnk ui --listen 127.0.0.1:0
`;

function listen(text: string): string {
  splitHostPort(text);
  return text;
}
