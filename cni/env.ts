/**
 * The parameters that a runtime passes in the environment: CNI SPEC 1.1, section 2.
 *
 * They come from outside and end up in paths, so each is held against the spec's grammar before anything else happens.
 */
import { CniError, CODE } from "./errors.ts";

export const VERBS = ["ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"] as const;
export type Verb = typeof VERBS[number];

/** A CNI attachment: the pair that names everything pcnk keeps of it. */
export interface AttachmentId {
  containerID: string;
  ifname: string;
}

/** What ADD, CHECK and DEL are about. */
export interface Container extends AttachmentId {
  /** Path of the network namespace; absent on a DEL after the namespace has gone. */
  netns?: string;
}

type Environment = (name: string) => string | undefined;

/** @throws {CniError} code 4 when CNI_COMMAND is none of the verbs */
export function readVerb(env: Environment): Verb {
  const given = env("CNI_COMMAND") ?? "";
  const verb = VERBS.find((verb) => verb === given);
  if (verb === undefined) {
    throw invalid(`CNI_COMMAND is ${show(given)}`, `it must be one of ${VERBS.join(", ")}`);
  }
  return verb;
}

/**
 * The container of an ADD, CHECK or DEL.
 * @throws {CniError} code 4 naming the variable
 */
export function readContainer(env: Environment, verb: "ADD" | "CHECK" | "DEL"): Container {
  const containerID = containerId(required(env, "CNI_CONTAINERID"), "CNI_CONTAINERID");
  const ifname = interfaceName(required(env, "CNI_IFNAME"), "CNI_IFNAME");
  const netns = env("CNI_NETNS") || undefined;
  if (netns === undefined && verb !== "DEL") {
    throw invalid("CNI_NETNS is missing", `${verb} needs the path of the network namespace`);
  }
  if (
    netns !== undefined && (!netns.startsWith("/") || netns.includes("\0") || netns.length > 4096)
  ) {
    throw invalid(`CNI_NETNS is ${show(netns)}`, "it must be an absolute path");
  }
  return { containerID, ifname, netns };
}

/**
 * A container ID: SPEC, section 2 "must start with an alphanumeric character, optionally followed by any combination of
 * alphanumerics, underscore, dot, hyphen". Its length is bounded, because it names a file.
 * @throws {CniError} code 4
 */
export function containerId(value: string, source: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(value)) {
    throw invalid(
      `${source} is ${show(value)}`,
      "it must start with a letter or digit and have only letters, digits, '_', '.' and '-', at most 128",
    );
  }
  return value;
}

/**
 * An interface name: libcni's ValidateInterfaceName, as the kernel's dev_valid_name().
 * @throws {CniError} code 4
 */
export function interfaceName(value: string, source: string): string {
  // deno-lint-ignore no-control-regex -- control characters are what is looked for
  const hostile = /[\s/:\x00-\x1f\x7f]/.test(value);
  if (value === "" || value === "." || value === ".." || byteLength(value) > 15 || hostile) {
    throw invalid(
      `${source} is ${show(value)}`,
      "it must be 1 to 15 bytes without '/', ':' or white space, and neither '.' nor '..'",
    );
  }
  return value;
}

function required(env: Environment, name: string): string {
  const value = env(name);
  if (!value) throw invalid(`${name} is missing`, "the runtime must set it");
  return value;
}

function invalid(message: string, details: string): CniError {
  return new CniError(CODE.INVALID_ENVIRONMENT, message, details);
}

/** Quoted, without control characters, not endless. */
function show(value: string): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…"` : text;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
