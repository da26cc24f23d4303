/**
 * Reading untyped YAML or JSON values into typed ones, with errors that say where.
 */
import { familyOf, parseAddress } from "../net/address.ts";
import { AddressError } from "../net/error.ts";
import { parseNetwork } from "../net/prefix.ts";
import { isLinkLocal, isUnicast } from "../net/scope.ts";

export type Path = readonly (string | number)[];

/** A value of the wrong type or outside its range. `path` leads to it from the object's root. */
export class DecodeError extends Error {
  constructor(readonly path: Path, readonly reason: string) {
    super(path.length === 0 ? reason : `${formatPath(path)}: ${reason}`);
    this.name = "DecodeError";
  }
}

/** `spec.ports[0].port`. */
function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    text += typeof step === "number" ? `[${step}]` : (text === "" ? step : `.${step}`);
  }
  return text;
}

export type Fields = Record<string, unknown>;

/** How a message shows a value: short, on one line. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a mapping";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A mapping; undefined and null count as an empty one, as in the API. */
export function fields(value: unknown, path: Path): Fields {
  if (value === undefined || value === null) return {};
  if (!isFields(value)) throw new DecodeError(path, `must be a mapping, not ${show(value)}`);
  return value;
}

/** A list; undefined and null count as an empty one. @param most of items; more are refused */
export function list(value: unknown, path: Path, most = Infinity): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new DecodeError(path, `must be a list, not ${show(value)}`);
  if (value.length > most) {
    throw new DecodeError(path, `has ${value.length} entries: at most ${most} are served`);
  }
  return value;
}

/** A string, or undefined when absent or null. */
export function text(value: unknown, path: Path): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") {
    throw new DecodeError(path, `must be a string, not ${show(value)}`);
  }
  return own(value);
}

/** true or false; `absent` when undefined or null. */
export function flag(value: unknown, path: Path, absent: boolean): boolean {
  if (value === undefined || value === null) return absent;
  if (typeof value !== "boolean") {
    throw new DecodeError(path, `must be true or false, not ${show(value)}`);
  }
  return value;
}

/** A whole number between `min` and `max`. */
export function integer(value: unknown, path: Path, min: number, max: number): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw new DecodeError(
      path,
      value === undefined || value === null
        ? "is missing"
        : `must be a whole number from ${min} to ${max}, not ${show(value)}`,
    );
  }
  return value as number;
}

/** One of `allowed`; `absent` when undefined, null or empty. */
export function oneOf<T extends string>(
  value: unknown,
  path: Path,
  allowed: readonly T[],
  absent: T,
): T {
  const given = text(value, path);
  if (given === undefined || given === "") return absent;
  const known = allowed.find((candidate) => candidate === given);
  if (known === undefined) {
    throw new DecodeError(path, `must be ${allowed.join(" or ")}, not ${show(given)}`);
  }
  return known;
}

/** An object's name (RFC 1123 subdomain, at most 253 characters). */
export function objectName(value: unknown, path: Path): string {
  const name = text(value, path);
  if (name === undefined || name === "") throw new DecodeError(path, "is missing");
  if (name.length > 253 || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)) {
    throw new DecodeError(path, `${show(name)} is not a valid name`);
  }
  return name;
}

/** An IPv4 address; undefined for an IPv6 address, which pcnk leaves to others. */
export function ipv4(value: unknown, path: Path): string | undefined {
  return ofIpv4(path, () => {
    const address = parseAddress(required(value, path));
    return familyOf(address) === 4 ? address : undefined;
  });
}

/** As `ipv4()`, an address that a backend may have: as ValidateNonSpecialIP() of the API, and no multicast. */
export function backendIpv4(value: unknown, path: Path): string | undefined {
  const address = ipv4(value, path);
  if (address === undefined || isUnicast(address) && !isLinkLocal(address)) return address;
  throw new DecodeError(path, `${address} is not an address that a backend may have`);
}

/** An IPv4 prefix, its host bits cleared; undefined for an IPv6 prefix. */
export function ipv4Prefix(value: unknown, path: Path): string | undefined {
  return ofIpv4(path, () => {
    const prefix = parseNetwork(required(value, path));
    return prefix.family === 4 ? prefix.text : undefined;
  });
}

function required(value: unknown, path: Path): string {
  const given = text(value, path);
  if (given === undefined) throw new DecodeError(path, "is missing");
  return given;
}

/** What `parse` returns; undefined for IPv6 addresses that src/net refuses: with a zone, or IPv4-mapped. */
function ofIpv4(path: Path, parse: () => string | undefined): string | undefined {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    if (error.family === 6) return undefined;
    throw new DecodeError(path, error.message);
  }
}

const known = new Map<string, string>();

/**
 * `value` cut loose from the document it was read from: V8 keeps a slice's whole parent alive. Strings that come up
 * again and again (node and zone names) are shared.
 */
function own(value: string): string {
  if (value.length < 13) return value; // V8 copies these
  const shared = known.get(value);
  if (shared !== undefined) return shared;
  if (known.size >= 4096) known.clear();
  // Slicing drops a character of a fresh flat string, which is then the only thing kept alive.
  const copy = (" " + value).slice(1);
  known.set(copy, copy);
  return copy;
}

/** Shares the texts in objects that come from another thread, as `text()` does. */
export function shareTexts(value: object): void {
  for (const [key, part] of Object.entries(value)) {
    if (typeof part === "string") (value as Fields)[key] = own(part);
    else if (typeof part === "object" && part !== null) shareTexts(part);
  }
}
