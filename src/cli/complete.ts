/**
 * What could come next on a command line: for the scripts of `pcnk completion`, which ask `pcnk __complete SHELL LINE` at each TAB.
 * Commands, options and fixed values come from the commands' own definitions, names from the kernel, as far as that is a matter
 * of milliseconds and of rights. Nothing here throws or prints an error: there are no candidates then.
 */
import type { Argument, Command, Option } from "@commander-js/extra-typings";
import { reasons } from "../bpf/reasons.ts";
import { nodeSettings } from "../model/node_settings.ts";
import { NodeReader } from "../view/node.ts";
import { findResource, resources } from "../view/resources.ts";
import { commands } from "./commands.ts";
import type { Shell } from "./completion.ts";

/** A word that may come next. */
interface Candidate {
  value: string;
  /** One line, or empty. */
  help: string;
}

/** What to offer: words, or paths of files or directories, which the shell knows better. */
type Offer = Candidate[] | "files" | "dirs";

/** Names to offer, at most. */
const MOST = 1000;

/** What may stand in the place of the last word of `words`, which may be empty; the program's name is not among them. */
export async function complete(words: readonly string[]): Promise<Offer> {
  const given = words.slice(0, -1), current = words.at(-1) ?? "";
  const found = await offers(given, current);
  if (!Array.isArray(found)) return found;
  return found.filter(({ value }) => value.startsWith(current)).slice(0, MOST);
}

const plain = (value: string, help = ""): Candidate => ({ value, help });

async function offers(given: readonly string[], current: string): Promise<Offer> {
  const [first, ...rest] = given[0] === "help" ? given.slice(1) : given;
  const entry = commands.find(({ name }) => name === first);
  if (first === undefined) return commandNames(given[0] === "help", current);
  if (entry === undefined) return [];
  const call = follow(await entry.load(), rest);
  const equals = /^(--[^=]+)=/.exec(current);
  if (equals !== null) {
    const values = valuesOf(call, call.command.options.find(({ long }) => long === equals[1]));
    return Array.isArray(values)
      ? values.map(({ value, help }) => plain(`${equals[0]}${value}`, help))
      : values;
  }
  if (call.open !== undefined) return valuesOf(call, call.open);
  if (current.startsWith("-")) return optionNames(call.command);
  if (call.command.commands.length > 0) {
    return call.command.commands.map((sub) =>
      plain(sub.name(), sub.summary() || sub.description())
    );
  }
  const all = call.command.registeredArguments;
  const argument = all[Math.min(call.args.length, all.length - 1)];
  const late = call.args.length >= all.length && !argument?.variadic;
  return argument === undefined || late ? [] : argumentValues(call, argument);
}

function commandNames(asHelp: boolean, current: string): Candidate[] {
  if (current.startsWith("-")) return [plain("--help"), plain("--version")];
  const names = commands.map(({ name, summary }) => plain(name, summary));
  return asHelp ? names : [...names, plain("help", "show the help of a command")];
}

/** How far a line has come. */
interface Call {
  command: Command;
  /** Words that are no options. */
  args: string[];
  /** Options that were given a value, by their names as attributes. */
  values: Map<string, string>;
  /** The option whose value is the word to be completed. */
  open?: Option;
}

function follow(start: Command, words: readonly string[]): Call {
  const call: Call = { command: start, args: [], values: new Map() };
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const [name = "", value] = word.split("=", 2);
    const option = call.command.options.find(({ long, short }) => name === long || name === short);
    const sub = call.command.commands.find((one) => one.name() === word);
    if (option !== undefined && (option.required || option.optional)) {
      if (value === undefined && i === words.length - 1) call.open = option as Option;
      else call.values.set(option.attributeName(), value ?? words[++i]!);
    } else if (sub !== undefined) call.command = sub as unknown as Command;
    else if (!word.startsWith("-")) call.args.push(word);
  }
  return call;
}

function optionNames({ options }: Command): Candidate[] {
  const shown = options.filter(({ hidden }) => !hidden);
  return [...shown.map(({ long, description }) => plain(long ?? "", description)), plain("--help")];
}

function valuesOf(call: Call, option: Option | undefined): Offer {
  if (option === undefined) return [];
  if (option.argChoices !== undefined) return option.argChoices.map((value) => plain(value));
  if (/<(FILE|PATH)/.test(option.flags)) return "files";
  if (/<DIR/.test(option.flags)) return "dirs";
  switch (option.long) {
    case "--service":
      return names(call, "services");
    case "--pod":
      return podNames(call);
    case "--namespace":
      return unique(names(call, "services").map(({ value }) => value.split("/")[0]!));
    case "--reason":
      return reasons.filter(({ kind }) => kind !== "none" && kind !== "event")
        .map(({ name, help }) => plain(name, help));
    default:
      return [];
  }
}

function argumentValues(call: Call, argument: Argument): Offer {
  if (argument.argChoices !== undefined) return argument.argChoices.map((value) => plain(value));
  switch (`${pathOf(call.command)} ${argument.name()}`) {
    case "get what":
      return resources.map(({ name, help }) => plain(name, help));
    case "get names":
      return names(call, call.args[0] ?? "");
    case "describe name":
      return call.args[0]?.startsWith("po") ? podNames(call) : names(call, "services");
    case "trace dst":
      return names(call, "services");
    case "trace src":
      return podNames(call);
    case "node set settings":
      return nodeSettings.map(({ name, help }) => plain(`${name}=`, help));
    default:
      return [];
  }
}

function pathOf(command: Command): string {
  const { parent } = command;
  return parent === null ? command.name() : `${pathOf(parent as Command)} ${command.name()}`;
}

/** Names of what the kernel holds of a kind; none when it may not be read. */
function names(call: Call, kind: string): Candidate[] {
  const resource = findResource(kind);
  if (resource === undefined) return [];
  return reading(
    call,
    (node) => unique(resource.read(node, { names: [] }).map(({ name }) => name)),
  );
}

function podNames(call: Call): Candidate[] {
  const named = reading(call, (node) => [...node.pods.values()].map(({ pod }) => plain(pod ?? "")));
  return named.filter(({ value }) => value !== "");
}

function unique(values: readonly string[]): Candidate[] {
  return [...new Set(values)].map((value) => plain(value));
}

function reading<T>({ command, values }: Call, read: (node: NodeReader) => T[]): T[] {
  const place = (key: string) => {
    const option = command.options.find((one) => one.attributeName() === key);
    const named = option?.envVar === undefined ? undefined : Deno.env.get(option.envVar);
    return values.get(key) ?? named ?? String(option?.defaultValue);
  };
  try {
    using node = new NodeReader({ bpffs: place("bpffs"), stateDir: place("stateDir") });
    return read(node);
  } catch {
    return []; // not root, or no data plane
  }
}

/** The line up to the cursor as words; the last one is being typed. The program's name is left out. */
export function wordsOf(line: string): string[] {
  return line.trimStart().split(/\s+/).slice(1);
}

/** Lines for a shell: the first says what kind of offer it is. */
export function format(shell: Shell, offer: Offer, current: string): string {
  if (!Array.isArray(offer)) return `:${offer}\n`;
  const lines = offer.map(({ value, help }) => {
    switch (shell) {
      case "bash":
        // bash takes what follows the last of its word breaks for the word.
        return value.slice(Math.max(current.lastIndexOf(":"), current.lastIndexOf("=")) + 1);
      case "zsh":
        return help === "" ? escapeColons(value) : `${escapeColons(value)}:${help}`;
      case "fish":
        return help === "" ? value : `${value}\t${help}`;
    }
  });
  return [":words", ...lines].join("\n") + "\n";
}

function escapeColons(text: string): string {
  return text.replaceAll(":", "\\:");
}
