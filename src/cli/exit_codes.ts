/** What a command's exit code means, at the end of its help. */
import type { CommandUnknownOpts } from "@commander-js/extra-typings";

const own = new WeakMap<object, string>();

const usual = "0 done, 1 it did not work (standard error says why), 2 the call was wrong";

/** Gives a command codes of its own; 2 is for wrong calls, always. */
export function exitCodes<C extends object>(command: C, text: string): C {
  own.set(command, `${text}, 2 the call was wrong`);
  return command;
}

/** One line, behind the examples. Nothing for a command that only has others below it. */
export function exitCodesOf(command: CommandUnknownOpts): string {
  if (command.commands.length > 0 && command.parent !== null) return "";
  const more = command.parent === null ? ", 128 + N ended by signal N" : "";
  return `Exit codes: ${own.get(command) ?? usual}${more}.`;
}
