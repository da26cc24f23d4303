/**
 * The network configuration on standard input: CNI SPEC 1.1, sections 1 and 3. Parsed once, here; verbs get typed values.
 *
 * An unknown key is an error: a misspelt `stateDir` must not lead to a second state directory.
 */
import type { AttachmentId, PortMapping } from "../src/node/attachments.ts";
import { isObject, type JsonObject } from "../src/node/files.ts";
import { CniError, CODE, show } from "./errors.ts";
import { lowerCase, objects, optionalText, parseJson, wrong } from "./json.ts";
import { portMappings } from "./port_mappings.ts";

/** Newest last. 0.2.0 and older have another result format and no chaining. */
export const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = typeof VERSIONS[number];

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = typeof LOG_LEVELS[number];

/** The plugin's configuration, checked. */
export interface Config {
  cniVersion: CniVersion;
  /** Of the network. */
  name: string;
  /** Absolute path of the node's bpffs directory. */
  bpffs: string;
  /** Absolute path of pcnk's state directory. */
  stateDir: string;
  logLevel: LogLevel;
  /** What the plugin before this one printed, unchanged. */
  prevResult?: JsonObject;
  /** hostPorts; undefined when the runtime passes none to this plugin. */
  portMappings?: PortMapping[];
  /** A limit that a plugin after this one sets: of what the pod receives, and sends. */
  bandwidth?: { ingress: boolean; egress: boolean };
  /** GC only: attachments that still exist. */
  validAttachments?: AttachmentId[];
}

const OWN = {
  bpffs: "/sys/fs/bpf/pcnk",
  stateDir: "/run/pcnk",
  logLevel: "info",
} as const;

type Rule = (value: unknown, key: string) => void;

/** Keys of the spec, and those that runtimes add; most are only checked. `cni.dev/...` is the spec's, too. */
const SPEC_KEYS: Record<string, Rule> = {
  cniVersion: () => {}, // checked before
  cniVersions: strings,
  name: () => {},
  type: () => {},
  disableCheck: boolean,
  disableGC: boolean,
  args: object,
  capabilities: (value, key) => {
    object(value, key);
    for (const [name, on] of Object.entries(value as JsonObject)) boolean(on, `${key}.${name}`);
  },
  runtimeConfig: object,
  prevResult: () => {},
  ipMasq: boolean,
  ipam: object,
  dns: object,
};

/** Bytes: a GC of 8000 attachments, each named twice; far beyond any other configuration. */
export const MAX_INPUT = 2 << 20;

/** Bytes that are read and dropped of a longer input, so that the runtime can finish writing and read the error. */
const MAX_DRAINED = 32 << 20;

/**
 * Reads text from `read`, which fills a buffer and returns how much, or null at the end.
 * @throws {CniError} code 5 when it cannot be read; code 6 when it is too long or not UTF-8
 */
export function readText(read: (buffer: Uint8Array) => number | null): string {
  const bytes = readAll(read);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CniError(
      CODE.DECODE_FAILURE,
      "the network configuration is not JSON: it is not UTF-8 text",
    );
  }
}

/** The JSON object in a text. @throws {CniError} code 6 */
export function parseInput(text: string): JsonObject {
  const value = parseJson(text);
  if (isObject(value)) return value;
  throw new CniError(
    CODE.DECODE_FAILURE,
    "the network configuration is not a JSON object",
    `it is ${show(value)}`,
  );
}

function readAll(read: (buffer: Uint8Array) => number | null): Uint8Array {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const buffer = new Uint8Array(65536);
  try {
    for (let n = read(buffer); n !== null && n > 0; n = read(buffer)) {
      length += n;
      if (length > MAX_DRAINED) break;
      if (length <= MAX_INPUT) chunks.push(buffer.slice(0, n));
    }
  } catch (error) {
    throw new CniError(
      CODE.IO_FAILURE,
      "cannot read the network configuration from standard input",
      (error as Error).message,
    );
  }
  if (length > MAX_INPUT) {
    throw new CniError(
      CODE.DECODE_FAILURE,
      `the network configuration is over ${MAX_INPUT} bytes long`,
    );
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * The version of a configuration, read first: errors are in that version.
 * @throws {CniError} code 1 when it is none of `VERSIONS`; code 6 when it is no version at all
 */
export function readVersion(input: JsonObject): CniVersion {
  // Without the key a configuration is of version 0.1.0 (libcni).
  const stated = input["cniVersion"];
  const given = stated === undefined || stated === null || stated === "" ? "0.1.0" : stated;
  if (typeof given !== "string" || !/^\d+\.\d+\.\d+([-+][\w.+-]*)?$/.test(given)) {
    throw new CniError(
      CODE.DECODE_FAILURE,
      `cniVersion ${show(given)} is not a version`,
      `pcnk supports ${VERSIONS.join(", ")}`,
    );
  }
  const version = VERSIONS.find((version) => version === given);
  if (version === undefined) {
    throw new CniError(
      CODE.INCOMPATIBLE_VERSION,
      `cniVersion ${show(given)} is not supported`,
      `pcnk supports ${VERSIONS.join(", ")}`,
    );
  }
  return version;
}

/**
 * Checks a configuration. With `lenient` (DEL), a prevResult of the wrong type is ignored: it must not keep a
 * container from being deleted.
 * @throws {CniError} code 2 for an unknown key, code 7 naming a key with a bad value; code 1 or 6 for the version
 */
export function readConfig(input: JsonObject, lenient = false): Config {
  const cniVersion = readVersion(input);
  for (const [key, value] of Object.entries(input)) {
    const rule = Object.hasOwn(SPEC_KEYS, key) ? SPEC_KEYS[key] : undefined;
    // Go's encoders write null for what is absent.
    if (rule && value !== null) rule(value, key);
    if (rule || Object.hasOwn(OWN, key) || key.startsWith("cni.dev/")) continue;
    throw new CniError(
      CODE.UNSUPPORTED_FIELD,
      `unknown key ${show(key)} with value ${show(value)}`,
      `pcnk's own keys are ${Object.keys(OWN).join(", ")}`,
    );
  }
  if (!optionalText(input["type"], "type")) throw wrong("type", input["type"], "must be set");
  const logLevel = optionalText(input["logLevel"], "logLevel") ?? OWN.logLevel;
  const level = LOG_LEVELS.find((level) => level === logLevel);
  if (!level) throw wrong("logLevel", logLevel, `must be one of ${LOG_LEVELS.join(", ")}`);
  const config: Config = {
    cniVersion,
    name: networkName(input),
    bpffs: path(input, "bpffs"),
    stateDir: path(input, "stateDir"),
    logLevel: level,
  };
  const prevResult = input["prevResult"];
  if (isObject(prevResult)) config.prevResult = prevResult;
  else if (prevResult != null && !lenient) object(prevResult, "prevResult");
  const { runtimeConfig } = input;
  // DEL undoes what is on record.
  if (isObject(runtimeConfig) && runtimeConfig["portMappings"] != null && !lenient) {
    config.portMappings = portMappings(runtimeConfig["portMappings"]);
  }
  const bandwidth = isObject(runtimeConfig) ? runtimeConfig["bandwidth"] : undefined;
  if (isObject(bandwidth)) {
    const { ingressrate, egressrate } = lowerCase(bandwidth);
    config.bandwidth = { ingress: Number(ingressrate) > 0, egress: Number(egressrate) > 0 };
  }
  // libcni sends the second name besides, for plugins of a draft of the spec; and null for none, as Go writes an empty list.
  const names = ["cni.dev/valid-attachments", "cni.dev/attachments"];
  if (names.some((name) => input[name] !== undefined)) {
    config.validAttachments = attachments(input[names[0]!] ?? input[names[1]!]);
  }
  return config;
}

function networkName(input: JsonObject): string {
  const name = optionalText(input["name"], "name") ?? "";
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    throw wrong(
      "name",
      name,
      "must start with a letter or digit and have only letters, digits, '_', '.' and '-'",
    );
  }
  return name;
}

function attachments(value: unknown): AttachmentId[] {
  const key = "cni.dev/valid-attachments";
  return objects(value, key).map((entry, i) => {
    const { containerID, ifname } = entry;
    if (typeof containerID !== "string" || typeof ifname !== "string") {
      throw wrong(`${key}[${i}]`, entry, "must have containerID and ifname");
    }
    return { containerID, ifname };
  });
}

function path(input: JsonObject, key: "bpffs" | "stateDir"): string {
  const value = optionalText(input[key], key) ?? OWN[key];
  const clean = value.replace(/\/+$/, "");
  if (!clean.startsWith("/") || clean.includes("\0") || clean.length > 255 || isWinding(clean)) {
    throw wrong(key, value, "must be an absolute path without '.' and '..'");
  }
  return clean;
}

function isWinding(path: string): boolean {
  return path.split("/").some((part) => part === "." || part === "..");
}

function object(value: unknown, key: string): void {
  if (!isObject(value)) throw wrong(key, value, "must be an object");
}

function boolean(value: unknown, key: string): void {
  if (typeof value !== "boolean") throw wrong(key, value, "must be true or false");
}

function strings(value: unknown, key: string): void {
  if (!Array.isArray(value)) throw wrong(key, value, "must be a list");
  value.forEach((item, i) => {
    if (typeof item !== "string") throw wrong(`${key}[${i}]`, item, "must be a string");
  });
}
