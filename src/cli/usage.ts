/** Usage errors that the parser of the command line does not find. */
import { InvalidArgumentError } from "@commander-js/extra-typings";

export { UsageError } from "../config/usage_error.ts";

/**
 * Makes a check a parser of option values: what it throws becomes a usage error. commander writes "option '--nodes <N>'
 * argument 'x' is invalid." before it, so the check's message is a sentence of its own.
 */
export function checked<T>(check: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return check(text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message.replace(/\.?$/, "."));
    }
  };
}
