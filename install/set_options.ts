/** `--set KEY=VALUE` of `pcnk install` and `pcnk manifest`: settings of the agent, and a few keys of the command itself. */
import { nearest } from "../src/model/nearest.ts";
import { UsageError } from "../src/config/usage_error.ts";
import { settings } from "../src/config/schema.ts";
import { type Setting } from "../src/config/setting.ts";

/** What was set: values by key, as they were written. */
export interface SetOptions {
  /** Settings of the agent, checked. */
  settings: Map<string, string>;
  /** Keys of the command itself. */
  own: Map<string, string>;
}

/** What a command takes besides the agent's settings. */
export interface SetRules {
  /** Its own keys, and their checks, which throw what is expected. */
  own: Readonly<Record<string, (value: string) => void>>;
  /** Settings that cannot be set here, and why. */
  refused?: Readonly<Record<string, string>>;
}

/**
 * Reads `KEY=VALUE` words; of a key that is given twice the last one counts.
 * @throws {UsageError}
 */
export function readSetOptions(words: readonly string[], rules: SetRules): SetOptions {
  const read: SetOptions = { settings: new Map(), own: new Map() };
  for (const word of words) {
    const at = word.indexOf("=");
    if (at < 1) throw new UsageError(`--set ${word}: must be KEY=VALUE`);
    const [key, value] = [word.slice(0, at), word.slice(at + 1)];
    const own = Object.hasOwn(rules.own, key) ? rules.own[key] : undefined;
    const setting = settings.find((one) => one.key === key);
    if (own === undefined && setting === undefined) throw new UsageError(unknownKey(key, rules));
    const refused = rules.refused?.[key];
    if (own === undefined && refused !== undefined) {
      throw new UsageError(`--set ${key}: ${refused}`);
    }
    try {
      if (own === undefined) setting!.kind.parse(value);
      else own(value);
    } catch (error) {
      throw new UsageError(`--set ${word}: ${key} ${(error as Error).message}`);
    }
    (own === undefined ? read.settings : read.own).set(key, value);
  }
  return read;
}

function unknownKey(key: string, { own, refused }: SetRules): string {
  const known = [...Object.keys(own), ...settings.map((one) => one.key)]
    .filter((one) => refused?.[one] === undefined);
  const meant = nearest(key, known) ?? known.find((one) => one.endsWith(`.${key}`));
  const hint = meant === undefined ? `known are ${known.join(", ")}` : `did you mean ${meant}?`;
  return `--set ${key}: there is no such key; ${hint}`;
}

/** A path that goes into unit files, manifests and links as it is. @throws Error what is expected */
export function absolutePath(value: string): void {
  if (!/^\/[\w./-]*[\w-]$/.test(value) || value.includes("..") || value.includes("//")) {
    throw new Error("must be an absolute path without blanks, such as /opt/cni/bin");
  }
}

/** The value of a setting: as given here, else its default. */
export function settingValue(given: ReadonlyMap<string, string>, key: string): string {
  const value = given.get(key);
  if (value !== undefined) return value;
  const fallback = settings.find((one) => one.key === key)?.fallback;
  return typeof fallback === "string" ? fallback : "";
}

/** Settings as a configuration file holds them: nested, numbers and lists as such. */
export function settingsTree(given: ReadonlyMap<string, string>): Record<string, unknown> {
  const tree: Record<string, unknown> = {};
  for (const setting of settings) { // in the order of the help text
    const value = given.get(setting.key);
    if (value === undefined) continue;
    const parts = setting.key.split(".");
    const last = parts.pop()!;
    let at = tree;
    for (const part of parts) at = (at[part] ??= {}) as Record<string, unknown>;
    at[last] = written(setting, value);
  }
  return tree;
}

/** A value in YAML's own types where the text is one; times and ranges stay as they were written. */
function written({ kind }: Setting, text: string): unknown {
  const value = kind.parse(text);
  if (typeof value === "boolean" || Array.isArray(value)) return value;
  return /^(0|[1-9]\d{0,14})$/.test(text) && typeof value === "number" ? Number(text) : text;
}
