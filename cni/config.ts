/**
 * The network configuration on standard input: CNI SPEC 1.1, sections 1 and 5. Parsed once, here; verbs get typed values.
 */
import { CniError, CODE } from "./errors.ts";
import { type AttachmentId, containerId, interfaceName } from "./env.ts";

/** Newest last. 0.2.0 and older have another result format and no chaining. */
export const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = typeof VERSIONS[number];

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = typeof LOG_LEVELS[number];

export type JsonObject = Record<string, unknown>;

/** The plugin's configuration, checked. */
export interface Config {
  cniVersion: CniVersion;
  /** Of the network. Empty when `lenient` and missing. */
  name: string;
  /** Absolute path of the node's bpffs directory. */
  bpffs: string;
  /** Absolute path of pcnk's state directory. */
  stateDir: string;
  logLevel: LogLevel;
  /** What the plugin before this one printed, unchanged. */
  prevResult?: JsonObject;
  /** GC only: attachments that still exist. */
  validAttachments?: AttachmentId[];
}

const OWN = {
  bpffs: "/sys/fs/bpf/pcnk",
  stateDir: "/run/pcnk",
  logLevel: "info",
} as const;

/** Keys of the spec, and those that runtimes add. `cni.dev/...` is reserved for the spec. */
const SPEC_KEYS = new Set([
  ...["cniVersion", "cniVersions", "name", "type", "disableCheck", "disableGC"],
  ...["capabilities", "runtimeConfig", "args", "prevResult", "ipMasq", "ipam", "dns"],
]);

/** Far beyond any real configuration; the rest is not read. */
export const MAX_INPUT = 1 << 20;

/**
 * Reads a configuration from `read`, which fills a buffer and returns how much, or null at the end.
 * @throws {CniError} code 6 when it is too long, not UTF-8, not JSON, or no object
 */
export function readInput(read: (buffer: Uint8Array) => number | null): JsonObject {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const buffer = new Uint8Array(16384);
  for (let n = read(buffer); n !== null && n > 0; n = read(buffer)) {
    length += n;
    if (length > MAX_INPUT) {
      throw new CniError(
        CODE.DECODE_FAILURE,
        `the network configuration is over ${MAX_INPUT} bytes long`,
      );
    }
    chunks.push(buffer.slice(0, n));
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const reason = length === 0 ? "it is empty" : (error as Error).message;
    throw new CniError(CODE.DECODE_FAILURE, `the network configuration is not JSON: ${reason}`);
  }
  if (!isObject(value)) {
    throw new CniError(CODE.DECODE_FAILURE, "the network configuration is not a JSON object");
  }
  return value;
}

/**
 * The version that a configuration speaks, known before anything else so that errors can be worded in it.
 * @throws {CniError} code 1 when it is none of `VERSIONS`; code 7 when it is no string
 */
export function readVersion(input: JsonObject): CniVersion {
  // Without the key a configuration is of version 0.1.0 (libcni).
  const given = input["cniVersion"] ?? "0.1.0";
  if (typeof given !== "string") throw wrong("cniVersion", "must be a string");
  const version = VERSIONS.find((version) => version === given);
  if (version === undefined) {
    throw new CniError(
      CODE.INCOMPATIBLE_VERSION,
      `cniVersion ${JSON.stringify(given.slice(0, 40))} is not supported`,
      `pcnk speaks ${VERSIONS.join(", ")}`,
    );
  }
  return version;
}

/**
 * Checks a configuration. With `lenient` (DEL), a prevResult of the wrong type is ignored: what cannot be
 * understood must not keep a container from being deleted.
 * @throws {CniError} code 7 naming the key; code 1 for the version
 */
export function readConfig(input: JsonObject, lenient = false): Config {
  const cniVersion = readVersion(input);
  for (const key of Object.keys(input)) {
    if (SPEC_KEYS.has(key) || Object.hasOwn(OWN, key) || key.startsWith("cni.dev/")) continue;
    throw new CniError(
      CODE.INVALID_CONFIG,
      `unknown key ${JSON.stringify(key.slice(0, 80))}`,
      `pcnk's own keys are ${Object.keys(OWN).join(", ")}`,
    );
  }
  for (const key of ["args", "capabilities", "runtimeConfig", "dns", "ipam"]) {
    if (input[key] != null && !isObject(input[key])) throw wrong(key, "must be an object");
  }
  const logLevel = text(input, "logLevel") ?? OWN.logLevel;
  const level = LOG_LEVELS.find((level) => level === logLevel);
  if (!level) throw wrong("logLevel", `must be one of ${LOG_LEVELS.join(", ")}`);
  const config: Config = {
    cniVersion,
    name: networkName(input),
    bpffs: path(input, "bpffs"),
    stateDir: path(input, "stateDir"),
    logLevel: level,
  };
  const prevResult = input["prevResult"];
  if (isObject(prevResult)) config.prevResult = prevResult;
  else if (prevResult != null && !lenient) throw wrong("prevResult", "must be an object");
  // libcni sends the second name besides, for plugins of a draft of the spec.
  const valid = input["cni.dev/valid-attachments"] ?? input["cni.dev/attachments"];
  if (valid !== undefined) config.validAttachments = attachments(valid);
  return config;
}

function networkName(input: JsonObject): string {
  const name = text(input, "name") ?? "";
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(name)) {
    throw wrong(
      "name",
      "must start with a letter or digit and have only letters, digits, '_', '.' and '-'",
    );
  }
  return name;
}

function attachments(value: unknown): AttachmentId[] {
  const key = "cni.dev/valid-attachments";
  if (!Array.isArray(value)) throw wrong(key, "must be a list");
  return value.map((entry: unknown) => {
    const { containerID, ifname } = isObject(entry) ? entry : {};
    if (typeof containerID !== "string" || typeof ifname !== "string") {
      throw wrong(key, "must list objects with containerID and ifname");
    }
    return {
      containerID: containerId(containerID, `${key}: containerID`),
      ifname: interfaceName(ifname, `${key}: ifname`),
    };
  });
}

function path(input: JsonObject, key: "bpffs" | "stateDir"): string {
  const value = text(input, key) ?? OWN[key];
  const parts = value.split("/");
  if (
    !value.startsWith("/") || value.includes("\0") || value.length > 255 || parts.includes("..")
  ) {
    throw wrong(key, "must be an absolute path without '..'");
  }
  return value.replace(/\/+$/, "") || "/";
}

function text(input: JsonObject, key: string): string | undefined {
  const value = input[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw wrong(key, "must be a string");
  return value;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(key: string, rule: string): CniError {
  return new CniError(CODE.INVALID_CONFIG, `${key} ${rule}`);
}
