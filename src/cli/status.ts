/** `pcnk status`: is this node well, and if not, what to do. */
import { Command, Option } from "@commander-js/extra-typings";
import process from "node:process";
import { type Finding, type Health, nodeStatus } from "../view/status.ts";
import { columns, type Paint, streamLook, type Style } from "../view/terminal.ts";
import { placeOption } from "./options.ts";
import { checked } from "./usage.ts";

/** The `status` subcommand. */
export function statusCommand() {
  return new Command("status")
    .description(
      "Show whether this node is well: each part with a reason and a next step if it is not. Needs root.",
    )
    .addOption(
      new Option("-o, --output <FORMAT>", "table or json").choices(["table", "json"] as const)
        .default("table" as const),
    )
    .addOption(
      new Option("--peers <N>", "other nodes that are asked for an answer, at most")
        .argParser(checked(peers)).default(16),
    )
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText(
      "after",
      "\nExit codes: 0 all is well, 1 something is not (a warning, or worse).\n\nExample:\n  pcnk status -o json\n",
    )
    .action(async ({ output, peers, bpffs, stateDir }) => {
      if (Deno.uid() !== 0) {
        throw new Error("pcnk status reads the kernel's maps: it must run as root");
      }
      const findings = await nodeStatus({ bpffs, stateDir, peers, timeoutMs: 1000 });
      if (output === "json") console.log(JSON.stringify({ findings }, null, 2));
      else console.log(renderStatus(findings, streamLook(Deno.stdout).paint));
      if (findings.some(({ health }) => health === "warn" || health === "bad")) {
        process.exitCode = 1;
      }
    });
}

function peers(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new Error("It must be a whole number from 0 to 9999");
  return Number(text);
}

const STYLES: Record<Health, Style> = { ok: "green", note: "dim", warn: "yellow", bad: "red" };

/** A line for each finding, and below those that need one, what to do. */
export function renderStatus(findings: readonly Finding[], paint: Paint): string {
  const rows = findings.map(({ part, health, text }, i) => [
    part === findings[i - 1]?.part ? "" : part,
    paint(STYLES[health], health),
    text,
  ]);
  const indent = " ".repeat(Math.max(...findings.map(({ part }) => part.length)) + 8);
  return columns(rows).flatMap((line, i) => {
    const { next } = findings[i]!;
    return next === undefined ? [line] : [line, `${indent}→ ${next}`];
  }).join("\n");
}
