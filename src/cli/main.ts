/**
 * The command line. The subcommands are in commands.ts; of their modules only the one that is called is imported.
 *
 * Exit codes: 0 success, 1 failure (reason on standard error), 2 usage error.
 */
import { Command, CommanderError } from "@commander-js/extra-typings";
import process from "node:process";
import { nearest } from "../model/nearest.ts";
import { commands } from "./commands.ts";
import { exitCodesOf } from "./exit_codes.ts";
import { UsageError } from "./usage.ts";

// deno-lint-ignore no-explicit-any -- each command has its own option types; here only the base matters
const plain = (command: any): Command => command as Command;

/** Where help and errors go. */
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

/** Runs `pcnk ARGS`; returns the exit code. Never throws: an error is one line on standard error. */
export async function runCli(given: string[], output = standard): Promise<number> {
  if (given[0] === "__complete") return await answerShell(given, output);
  if (given[0] === "__bpffs") return await (await import("./node_bpffs.ts")).run(given[1]!);
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
    .option("-V, --version", "Show the version")
    .helpCommand("help [COMMAND]", "Show help for a command")
    .helpOption("-h, --help", "Show help")
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

/** Completes words for a script of `pcnk completion`. After an error there are no candidates. */
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
With CNI_COMMAND in its environment, as container runtimes call it, pcnk is a CNI
plugin (https://www.cni.dev/docs/spec/).

Examples:
  pcnk lab demo                        create, test and remove a cluster of namespaces
  pcnk manifest | kubectl apply -f -   install on every node of a cluster
  pcnk status                          check this node
`;

/** Suggests the nearest choice for a wrong value, as commander does for commands and options. */
function suggest(text: string): string {
  const [, given, choices] = /'([^']*)' is invalid.* Allowed choices are (.*)\.$/m.exec(text) ?? [];
  if (given === undefined || choices === undefined) return text;
  const meant = nearest(given, choices.split(", "));
  return meant === undefined ? text : text.trimEnd() + `\n(Did you mean ${meant}?)\n`;
}

/** Adds the choices of a missing argument. */
function nameMissing(text: string, { registeredArguments }: Command): string {
  const [, missing] = /missing required argument '(.*)'/.exec(text) ?? [];
  const argument = registeredArguments.find((one) => one.name() === missing);
  const choices = argument?.argChoices?.join(", ") || argument?.description;
  return choices ? `${text.trimEnd()}: ${choices}\n` : text;
}

/** `help lab up` is `lab up --help`, at every level; a wrong name is an error. */
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

/** In a list of commands a description has no full stop. */
function summaryOf(description: string): string {
  return description.replace(/\.$/, "");
}

/** Adds to a usage error the choices and the help to read, at the level of the command. */
function hint(command: Command, path: string): void {
  const what = command.commands.length > 0 ? "commands" : "options";
  command.showHelpAfterError(`(${path} --help lists the ${what})`);
  const outputError = command.configureOutput().outputError!;
  command.configureOutput({
    outputError: (text, write) => outputError(nameMissing(text, command), write),
  });
  for (const sub of command.commands) hint(plain(sub), `${path} ${sub.name()}`);
}

/** What went wrong; then what else did while resources were given back after it. */
function messages(error: unknown): string[] {
  if (error instanceof SuppressedError) {
    return [...messages(error.suppressed), ...messages(error.error)];
  }
  return [error instanceof Error ? error.message : String(error)];
}

function exitCode(error: unknown, output: Output): number {
  if (error instanceof CommanderError) {
    // Help and version are not errors; others are reported by commander.
    return error.exitCode === 0 || error.code === "commander.help" ? 0 : 2;
  }
  // `pcnk … | head` has closed the pipe.
  if (error instanceof Deno.errors.BrokenPipe) return 0;
  for (const message of messages(error)) output.err(`pcnk: ${message}\n`);
  if (process.env.PCNK_DEBUG && error instanceof Error) output.err(`${error.stack}\n`);
  return error instanceof UsageError ? 2 : 1;
}
