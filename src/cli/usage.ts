/** Wrong calls: what the parser of the command line cannot see by itself. */
import { InvalidArgumentError } from "@commander-js/extra-typings";

export { UsageError } from "../config/usage_error.ts";

/**
 * Makes a check fit for an option's value: what it throws becomes a wrong call. commander's own words come first: "option
 * '--nodes <count>' argument 'x' is invalid.", so the check's message is a sentence of its own.
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
