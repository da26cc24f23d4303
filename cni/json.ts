/** Reads JSON without loss, and values within it with errors that name the key. */
import { isObject, type JsonObject } from "../src/node/files.ts";
import { CniError, CODE, show } from "./errors.ts";

type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;
const parse = JSON.parse as (text: string, reviver?: Reviver) => unknown;
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/** Numbers that a JavaScript number may not hold exactly: 16 digits and more, exponents. */
const DELICATE = /\d{16}|\d[eE][+-]?\d/;

/**
 * Parses JSON so that `stringifyJson` writes every number as it came, also one that is too big for a JavaScript number: a
 * result is passed on whole, keys that pcnk does not know included.
 * @throws {CniError} code 6
 */
export function parseJson(text: string): unknown {
  try {
    return DELICATE.test(text) ? parse(text, keepExact) : parse(text);
  } catch (error) {
    const reason = text.trim() === "" ? "it is empty" : (error as Error).message;
    throw new CniError(
      CODE.DECODE_FAILURE,
      `the network configuration is not JSON: ${reason.slice(0, 200)}`,
    );
  }
}

function keepExact(_key: string, value: unknown, { source }: { source?: string }): unknown {
  if (typeof value !== "number" || source === undefined) return value;
  return Number.isSafeInteger(value) || String(value) === source ? value : rawJSON(source);
}

/**
 * The text of a value that came from outside.
 * @throws {CniError} code 6 when it is nested more deeply than can be written again
 */
export function stringifyJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CniError(CODE.DECODE_FAILURE, "the network configuration is nested too deeply");
  }
}

/** The error for a bad value; `where` names the key, e.g. `prevResult.ips[0].address`. */
export function wrong(where: string, value: unknown, rule: string): CniError {
  return new CniError(CODE.INVALID_CONFIG, `${where} ${rule}`, `it is ${show(value)}`);
}

/** A string; undefined when it is absent. @throws {CniError} code 7 */
export function optionalText(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw wrong(where, value, "must be a string");
  return value;
}

/**
 * An object by the lower case of its keys: plugins in Go take a key in any case, and go-cni (containerd 1.6) writes the
 * Go names of its fields, such as `HostPort`.
 */
export function lowerCase(object: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [key.toLowerCase(), value]),
  );
}

/** A list of objects, empty when it is absent. @throws {CniError} code 7 */
export function objects(value: unknown, where: string): JsonObject[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw wrong(where, value, "must be a list");
  value.forEach((item: unknown, i) => {
    if (!isObject(item)) throw wrong(`${where}[${i}]`, item, "must be an object");
  });
  return value;
}
