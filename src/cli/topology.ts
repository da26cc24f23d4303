/** `pcnk topology`: draws the node's devices and programs. */
import { Command, Option } from "@commander-js/extra-typings";
import { NodeReader } from "../view/node.ts";
import { standaloneSvg } from "../view/topology_picture.ts";
import { streamLook, terminalWidth } from "../view/terminal.ts";
import { readTopology, renderTopology } from "../view/topology.ts";
import { outputOption, placeOption, requireRoot } from "./options.ts";

/** The `topology` subcommand. */
export function command() {
  return new Command("topology")
    .description(
      "Draw the path of packets on this node: pods, bridge, tunnel, uplinks, and the program on each. Needs root.",
    )
    .addOption(new Option("--svg", "Print an SVG picture"))
    .addOption(outputOption(["text", "json"]))
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText("after", "\nExamples:\n  pcnk topology\n  pcnk topology --svg > node1.svg\n")
    .action(({ svg, output, bpffs, stateDir }) => {
      requireRoot("topology");
      using node = new NodeReader({ bpffs, stateDir });
      const topology = readTopology(node);
      if (svg) console.log(standaloneSvg(topology).trimEnd());
      else if (output === "json") console.log(JSON.stringify(topology, null, 2));
      else {
        const { paint } = streamLook(Deno.stdout);
        console.log(renderTopology(topology, paint, 12, terminalWidth()));
      }
    });
}
