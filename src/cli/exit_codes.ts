/** The meaning of exit codes, at the end of each help text. */
import type { CommandUnknownOpts } from "@commander-js/extra-typings";

const own = new WeakMap<object, string>();

const usual = "0 success, 1 failure (reason on standard error), 2 usage error";

/** Codes of one command; 2 is always a usage error. */
export function exitCodes<C extends object>(command: C, text: string): C {
  own.set(command, `${text}, 2 usage error`);
  return command;
}

/** One line, behind the examples. Nothing for a command that only has others below it. */
export function exitCodesOf(command: CommandUnknownOpts): string {
  if (command.commands.length > 0 && command.parent !== null) return "";
  const more = command.parent === null ? ", 128 + N killed by signal N" : "";
  return `Exit codes: ${own.get(command) ?? usual}${more}.`;
}
