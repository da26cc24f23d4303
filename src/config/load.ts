/** The agent's settings from defaults, a YAML file and flags, the later ones over the earlier ones. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { checkTogether } from "./check.ts";
import { nearest } from "../model/nearest.ts";
import { type AgentConfig, settings } from "./schema.ts";
import { fallbackOf, flagName, type Setting } from "./setting.ts";

/** A setting that is wrong. The message is one line: where, what, and what would be right. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Values by key. */
export type Values = Map<string, unknown>;

/**
 * Puts the settings together.
 *
 * @param file path of a configuration file
 * @param flags values by key, checked already
 * @throws {ConfigError} naming file, line and key
 */
export function loadConfig(file: string | undefined, flags: Values): AgentConfig {
  const values = new Map<string, unknown>();
  const given = file === undefined ? new Map() : readConfigFile(file);
  for (const setting of settings) {
    const { key } = setting;
    const value = flags.get(key) ?? given.get(key) ?? checkedFallback(setting);
    if (value !== undefined) values.set(key, value);
  }
  const config = nest(values) as unknown as AgentConfig;
  try {
    checkTogether(config);
  } catch (error) {
    const where = file === undefined ? "" : `configuration file ${file} and flags: `;
    throw new ConfigError(where + (error as Error).message);
  }
  return config;
}

/** A default that is found out may be unfit: a host's name is not always a node's. */
function checkedFallback(setting: Setting): unknown {
  const value = fallbackOf(setting);
  try {
    return value === undefined ? undefined : setting.kind.parse(value);
  } catch (error) {
    const reason = `${JSON.stringify(value)} ${(error as Error).message}`;
    throw new ConfigError(`${setting.key}: ${reason}; give ${flagName(setting.key)}`);
  }
}

function readConfigFile(file: string): Values {
  let content: string;
  try {
    content = Deno.readTextFileSync(file);
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound
      ? "is not there"
      : (error as Error).message;
    throw new ConfigError(`configuration file ${file}: ${reason}`);
  }
  return parseConfig(content, file);
}

/**
 * The values of a configuration file's content.
 *
 * @param file for messages
 * @throws {ConfigError} naming file, line and key
 */
export function parseConfig(content: string, file: string): Values {
  const lines = new LineCounter();
  const document = parseDocument(content, { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`;
  if (error !== undefined) throw new ConfigError(`${at(error.pos[0])}: ${error.message}`);
  const values: Values = new Map();
  if (document.contents !== null) {
    collect(document.contents, "", values, (node) => at(node?.range?.[0] ?? 0));
  }
  return values;
}

function collect(node: Node, prefix: string, into: Values, at: (node: Node | null) => string) {
  if (!isMap(node)) {
    const what = prefix === "" ? "the file" : prefix;
    throw new ConfigError(`${at(node)}: ${what} must be a mapping of settings`);
  }
  for (const pair of node.items) {
    const keyNode = pair.key as Node;
    const word = isScalar(keyNode) ? String(keyNode.value) : "";
    const key = prefix === "" ? word : `${prefix}.${word}`;
    const setting = settings.find((one) => one.key === key);
    const value = pair.value as Node | null;
    if (setting === undefined && settings.some((one) => one.key.startsWith(`${key}.`))) {
      if (value !== null) collect(value, key, into, at);
    } else if (setting === undefined) {
      throw new ConfigError(`${at(keyNode)}: ${unknown(key, prefix)}`);
    } else if (isScalar(value) && value.value !== null) {
      into.set(key, check(setting, value.value, at(value)));
    } else if (isSeq(value) && value.items.every((item) => isScalar(item))) {
      into.set(key, check(setting, value.toJSON(), at(value)));
    } else {
      const what = isAlias(value) ? "must not be an alias" : "must have a single value";
      throw new ConfigError(`${at(value ?? keyNode)}: ${key} ${what}`);
    }
  }
}

/** What to say about a key that is none. */
function unknown(key: string, prefix: string): string {
  const all = settings.map((one) => one.key);
  const level = prefix === "" ? 0 : prefix.split(".").length;
  const here = all.filter((one) => prefix === "" || one.startsWith(`${prefix}.`))
    .map((one) => one.split(".").slice(0, level + 1).join("."));
  const meant = nearest(key, [...new Set(here)]) ?? nearest(key, all) ??
    all.find((one) => one.endsWith(`.${key}`));
  const hint = meant === undefined
    ? `known are ${[...new Set(here)].join(", ")}`
    : `did you mean ${meant}?`;
  return `unknown key ${JSON.stringify(key)}; ${hint}`;
}

function check(setting: Setting, value: unknown, where: string): unknown {
  try {
    return setting.kind.parse(value);
  } catch (error) {
    const given = JSON.stringify(value);
    throw new ConfigError(`${where}: ${setting.key} ${(error as Error).message}, not ${given}`);
  }
}

/** `{"a.b": 1}` as `{a: {b: 1}}`. */
function nest(values: Values): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [key, value] of values) {
    const steps = key.split(".");
    const last = steps.pop()!;
    let at = result;
    for (const step of steps) at = (at[step] ??= {}) as Record<string, unknown>;
    at[last] = value;
  }
  return result;
}
