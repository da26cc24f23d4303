/**
 * The command line. The subcommands are in commands.ts; of their modules only the one that is called is imported.
 *
 * Exit codes: 0 done, 1 it did not work (the reason is on standard error), 2 the call itself was wrong.
 */
import { Command, CommanderError } from "@commander-js/extra-typings";
import process from "node:process";
import { nearest } from "../model/nearest.ts";
import { commands } from "./commands.ts";
import { exitCodesOf } from "./exit_codes.ts";
import { UsageError } from "./usage.ts";

// deno-lint-ignore no-explicit-any -- each command has its own option types; here only the base matters
const plain = (command: any): Command => command as Command;

/** Where help and complaints go. */
interface Output {
  out(text: string): void;
  err(text: string): void;
  /** Columns of help; by default those of the terminal, else 80. */
  width?: number;
}

const standard: Output = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

/** Runs `pcnk ARGS`; returns the exit code. Never throws: a problem is one line on standard error. */
export async function runCli(given: string[], output = standard): Promise<number> {
  if (given[0] === "__complete") return await answerShell(given, output);
  const args = helpLast(given[0] === "-V" || given[0] === "--version" ? ["version"] : given);
  const called = args[0];
  try {
    const program = await buildProgram(output, (name) => name === called);
    await program.parseAsync(args, { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return exitCode(error, output);
  }
}

/** The program with its subcommands; only those that are `wanted` are more than a name. */
export async function buildProgram(
  output: Output,
  wanted: (name: string) => boolean,
): Promise<Command> {
  const { width } = output;
  const program = new Command("pcnk")
    .description("A Kubernetes network provider in one executable, made of small eBPF services.")
    .usage("COMMAND [OPTIONS]")
    .option("-V, --version", "show the version")
    .helpCommand("help [COMMAND]", "show the help of a command")
    .addHelpText("after", footer)
    .addHelpText("afterAll", ({ command }) => exitCodesOf(command))
    .configureHelp({ minWidthToWrap: 24 }) // the agent's flags leave less than commander's 40 of 80 columns
    .configureOutput({
      writeOut: output.out,
      writeErr: output.err,
      ...(width === undefined
        ? {}
        : { getOutHelpWidth: () => width, getErrHelpWidth: () => width }),
      outputError: (text, write) => write(suggest(text.replace(/^error: /, "pcnk: "))),
    })
    .exitOverride();
  for (const { name, group, summary, load } of commands) {
    const command = wanted(name) ? await load() : new Command(name).description(summary);
    program.addCommand(inherit(command.summary(summary).helpGroup(group), program));
  }
  hint(program, "pcnk");
  return program;
}

/** A shell at a TAB, by a script of `pcnk completion`. Whatever goes wrong, there is just nothing to offer. */
async function answerShell([, shell, line = ""]: string[], output: Output): Promise<number> {
  if (shell !== "bash" && shell !== "zsh" && shell !== "fish") return 2;
  const { complete, format, wordsOf } = await import("./complete.ts");
  const words = wordsOf(line);
  try {
    output.out(format(shell, await complete(words), words.at(-1) ?? ""));
    return 0;
  } catch {
    return 1;
  }
}

const footer = `
Called by a container runtime (CNI_COMMAND is set), pcnk is a CNI plugin; see
https://www.cni.dev/docs/spec/ for that protocol.

Examples:
  pcnk lab demo                        a cluster in namespaces: up, test, down
  pcnk manifest | kubectl apply -f -   onto every node of a cluster
  pcnk status                          is this node well?
`;

/** Where a value is one of some words, says which was probably meant, as it is said of commands and options. */
function suggest(text: string): string {
  const [, given, choices] = /'([^']*)' is invalid.* Allowed choices are (.*)\.$/m.exec(text) ?? [];
  if (given === undefined || choices === undefined) return text;
  const meant = nearest(given, choices.split(", "));
  return meant === undefined ? text : text.trimEnd() + `\n(Did you mean ${meant}?)\n`;
}

/** Says of a missing argument what it may be. */
function nameMissing(text: string, { registeredArguments }: Command): string {
  const [, missing] = /missing required argument '(.*)'/.exec(text) ?? [];
  const argument = registeredArguments.find((one) => one.name() === missing);
  const choices = argument?.argChoices?.join(", ") || argument?.description;
  return choices ? `${text.trimEnd()}: ${choices}\n` : text;
}

/** `help lab up` is `lab up --help`: so that every level answers, and a wrong name is an error. */
function helpLast(args: string[]): string[] {
  const known = (word: string | undefined) =>
    word === undefined || word.startsWith("-") || commands.some(({ name }) => name === word);
  if (args[0] !== "help") return known(args[0]) ? args : args.slice(0, 1); // nothing to help with
  return known(args[1]) ? [...args.slice(1), "--help"] : args.slice(1);
}

/** exitOverride() and the error style are not inherited by commands that are added whole. */
function inherit(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent).exitOverride();
  for (const sub of command.commands) {
    if (sub.summary() === "") sub.summary(summaryOf(sub.description()));
    inherit(plain(sub), command);
  }
  return command;
}

/** In a list of commands a description stands like the summaries above: without capital and full stop. */
function summaryOf(description: string): string {
  return description.charAt(0).toLowerCase() + description.slice(1).replace(/\.$/, "");
}

/** After an error: what a missing argument would be, and where to read on, at the level where the call went wrong. */
function hint(command: Command, path: string): void {
  const what = command.commands.length > 0 ? "commands" : "options";
  command.showHelpAfterError(`(${path} --help lists the ${what})`);
  const outputError = command.configureOutput().outputError!;
  command.configureOutput({
    outputError: (text, write) => outputError(nameMissing(text, command), write),
  });
  for (const sub of command.commands) hint(plain(sub), `${path} ${sub.name()}`);
}

function exitCode(error: unknown, output: Output): number {
  if (error instanceof CommanderError) {
    // Help and version are not errors; commander has already said what is wrong otherwise.
    return error.exitCode === 0 || error.code === "commander.help" ? 0 : 2;
  }
  // `pcnk … | head`: nobody reads on, and nobody would read a message either.
  if (error instanceof Deno.errors.BrokenPipe) return 0;
  const message = error instanceof Error ? error.message : String(error);
  output.err(`pcnk: ${message}\n`);
  if (process.env.PCNK_DEBUG && error instanceof Error) output.err(`${error.stack}\n`);
  return error instanceof UsageError ? 2 : 1;
}
