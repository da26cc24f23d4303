/** `pcnk lab`: a cluster of network namespaces on this machine. */
import { Argument, Command, Option } from "@commander-js/extra-typings";
import process from "node:process";
import { placeOf, sourcesOf } from "../lab/connectivity.ts";
import { runDemo } from "../lab/demo.ts";
import { downLab } from "../lab/down.ts";
import { execAt } from "../lab/exec.ts";
import { LabHandle } from "../lab/lab.ts";
import { ATTACH_MODES, checkCount, checkLabName, ROUTING_MODES, SERVER_PORT } from "../lab/plan.ts";
import { requireRoot } from "../lab/preflight.ts";
import { runProbes } from "../lab/probe.ts";
import { stderrProgress } from "../lab/progress.ts";
import { renderReport } from "../lab/report.ts";
import { serve } from "../lab/serve.ts";
import { LabStore } from "../lab/state.ts";
import { labStatus, renderStatus } from "../lab/status.ts";
import { outputWidth, print, streamLook } from "../view/terminal.ts";
import { upLab } from "../lab/up.ts";
import { untilSignal } from "./signals.ts";
import { checked } from "./usage.ts";
import { outputOption } from "./options.ts";

/** The command with its subcommands. */
export function command() {
  return new Command("lab")
    .description(
      "Run a cluster of network namespaces on this machine, to try and to test pcnk. Needs root.",
    )
    .hook("preAction", () => requireRoot())
    .addCommand(up())
    .addCommand(down())
    .addCommand(status())
    .addCommand(exec())
    .addCommand(test())
    .addCommand(demo())
    .addCommand(serveCommand(), { hidden: true })
    .addCommand(probeCommand(), { hidden: true })
    .addHelpText("after", examples("lab demo", "lab up", "lab exec node1 -- pcnk status"));
}

/** Calls that work as they stand, in a row. */
function examples(...calls: string[]): string {
  const lines = calls.map((call) => `  pcnk ${call}\n`).join("");
  return `\nExample${calls.length > 1 ? "s" : ""}:\n${lines}`;
}

function nameOption(fallback = "lab") {
  return new Option("--name <NAME>", "Name of the lab: 2 to 15 of a-z and 0-9")
    .argParser(checked((text) => checkLabName(text, "It"))).default(fallback);
}

function nodesOption() {
  const parse = checked((text: string) => checkCount("It", text, 1, 16));
  return new Option("--nodes <N>", "Create N nodes, 1 to 16").argParser(parse).default(2);
}

function podsOption() {
  const parse = checked((text: string) => checkCount("It", text, 0, 32));
  return new Option("--pods <N>", "Create N pods on each node, 0 to 32").argParser(parse).default(
    2,
  );
}

function attachOption() {
  return new Option("--attach <MODE>", "Attach programs in this mode").choices(ATTACH_MODES)
    .default("auto" as const);
}

function routingOption() {
  return new Option("--routing <MODE>", "Reach pods of other nodes in this mode").choices(
    ROUTING_MODES,
  )
    .default("overlay" as const);
}

const printJson = (value: unknown) => print(JSON.stringify(value, null, 2) + "\n");

function up() {
  return new Command("up")
    .description("Create a lab: a physical network, nodes with agents, pods, services.")
    .addOption(nodesOption()).addOption(podsOption()).addOption(attachOption())
    .addOption(routingOption()).addOption(nameOption())
    .addHelpText("after", examples("lab up", "lab up --nodes 3 --pods 1 --routing direct"))
    .action((options) =>
      untilSignal(async (signal) => {
        const lab = await upLab({ ...options, progress: stderrProgress(), signal });
        print("\n" + renderStatus(labStatus(lab.store), streamLook(Deno.stdout).paint));
      })
    );
}

function down() {
  return new Command("down")
    .description("Remove a lab, or the rest of one after a crash.")
    .addOption(nameOption())
    .addHelpText("after", examples("lab down"))
    .action(async ({ name }) => {
      const found = await downLab(name, stderrProgress());
      if (!found) console.error(`there is no lab named ${name}: nothing to remove`);
    });
}

function status() {
  return new Command("status")
    .description("Show nodes, pods and the outside host.")
    .addOption(outputOption(["table", "json"])).addOption(nameOption())
    .addHelpText("after", examples("lab status", "lab status -o json"))
    .action(({ name, output }) => {
      const found = labStatus(LabStore.open(name));
      if (output === "json") printJson(found);
      else print(renderStatus(found, streamLook(Deno.stdout).paint));
    });
}

function exec() {
  return new Command("exec")
    .description("Run a command in a pod, on a node or outside, and exit with its exit code.")
    .usage("[--name NAME] WHERE -- COMMAND [ARGUMENTS]")
    .addOption(nameOption())
    .addArgument(new Argument("<where>", "Pod, node or outside, e.g. pod1-1 or node1"))
    .addArgument(
      new Argument(
        "<command...>",
        "Command to run; on a node with PCNK_BPFFS and PCNK_STATE_DIR set",
      ),
    )
    .addHelpText(
      "after",
      examples("lab exec pod1-1 -- curl -s 10.96.0.10", "lab exec node1 -- pcnk get services"),
    )
    .action(async (where, command, { name }) => {
      const store = LabStore.open(name);
      process.exitCode = await execAt(store, placeOf(store, where), where, command);
    });
}

function test() {
  return new Command("test")
    .description("Run the connectivity matrix; exit with 1 if a cell is red.")
    .addOption(outputOption(["table", "json"])).addOption(nameOption())
    .addHelpText("after", examples("lab test", "lab test -o json"))
    .action(({ name, output }) =>
      untilSignal(async (signal) => {
        const lab = LabHandle.open(name);
        const report = await lab.test(stderrProgress(), signal);
        const { paint } = streamLook(Deno.stdout);
        if (output === "json") printJson(report);
        else print("\n" + renderReport(report, sourcesOf(lab.store), outputWidth(), paint));
        if (report.failed > 0) process.exitCode = 1;
      })
    );
}

function demo() {
  return new Command("demo")
    .description("Create a lab, test it and remove it.")
    .addOption(nodesOption()).addOption(podsOption()).addOption(attachOption())
    .addOption(routingOption()).addOption(nameOption("demo"))
    .addHelpText("after", examples("lab demo", "lab demo --nodes 3 --attach tcx"))
    .action((options) =>
      untilSignal(async (signal) => {
        const { paint } = streamLook(Deno.stdout);
        const output = { write: print, paint, width: outputWidth() };
        const report = await runDemo({ ...options, progress: stderrProgress(), signal }, output);
        if (report.failed > 0) process.exitCode = 1;
      })
    );
}

function serveCommand() {
  return new Command("serve")
    .description("The server in a pod; runs until it is killed.")
    .requiredOption("--name <name>", "Name of the pod, part of every reply")
    .option(
      "--port <port>",
      "TCP and UDP",
      checked((text) => checkCount("It", text, 0, 65535)),
      SERVER_PORT,
    )
    .action(async ({ name, port }) => {
      const server = await serve(name, port);
      print(`listening ${server.port}\n`);
      await new Promise(() => {}); // The sockets keep the process alive.
    });
}

function probeCommand() {
  return new Command("probe")
    .description("Run the probes given as JSON on standard input; results on standard output.")
    .action(async () => {
      const probes = JSON.parse(await new Response(Deno.stdin.readable).text());
      print(JSON.stringify(await runProbes(probes)) + "\n");
    });
}
