/** `pcnk status`: checks this node, with a next step for each problem. */
import { Command, Option } from "@commander-js/extra-typings";
import process from "node:process";
import type { Finding, Health } from "../view/finding.ts";
import { nodeStatus } from "../view/status.ts";
import { type Paint, streamLook, type Style, terminalWidth, wrap } from "../view/terminal.ts";
import { exitCodes } from "./exit_codes.ts";
import { outputOption, placeOption, requireRoot } from "./options.ts";
import { checked } from "./usage.ts";

const examples = `
Examples:
  pcnk status
  pcnk status -o json | jq -r '.findings[] | select(.health == "bad") | .text'
`;

/** The `status` subcommand. */
export function command() {
  const command = new Command("status")
    .description(
      "Check each part of this node, with a reason and a next step for each problem. Needs root.",
    )
    .addOption(outputOption(["table", "json"]))
    .addOption(
      new Option("--peers <N>", "Probe at most N other nodes")
        .argParser(checked(peers)).default(16),
    )
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText(
      "after",
      examples,
    )
    .action(async ({ output, peers, bpffs, stateDir }) => {
      requireRoot("status");
      const findings = await nodeStatus({ bpffs, stateDir, peers, timeoutMs: 1000 });
      if (output === "json") console.log(JSON.stringify({ findings }, null, 2));
      else console.log(renderStatus(findings, streamLook(Deno.stdout).paint, terminalWidth()));
      if (findings.some(({ health }) => health === "warn" || health === "bad")) {
        process.exitCode = 1;
      }
    });
  return exitCodes(command, "0 healthy, 1 a problem or a warning");
}

function peers(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new Error("It must be a whole number from 0 to 9999");
  return Number(text);
}

const STYLES: Record<Health, Style> = { ok: "green", note: "dim", warn: "yellow", bad: "red" };

/** A line for each finding, and below those that need one, what to do; wrapped to the width. */
export function renderStatus(
  findings: readonly Finding[],
  paint: Paint,
  width = Infinity,
): string {
  const parts = Math.max(...findings.map(({ part }) => part.length));
  const indent = " ".repeat(parts + 8);
  return findings.flatMap(({ part, health, text, next }, i) => {
    const name = part === findings[i - 1]?.part ? "" : part;
    const before = `${name.padEnd(parts)}  ${paint(STYLES[health], health)}${
      " ".repeat(6 - health.length)
    }`;
    const [first = "", ...more] = wrap(text, width - indent.length);
    const [step, ...steps] = next === undefined ? [] : wrap(next, width - indent.length - 2);
    return [
      before + first,
      ...more.map((line) => indent + line),
      ...step === undefined ? [] : [`${indent}→ ${step}`],
      ...steps.map((line) => `${indent}  ${line}`),
    ];
  }).join("\n");
}
