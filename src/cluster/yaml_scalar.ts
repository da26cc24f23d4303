/**
 * One-line values of plain YAML: scalars by the core schema, and flow collections. Part of the fast parser
 * (yaml_fast.ts): whatever is not surely understood throws `giveUp`.
 */

/** Thrown inside when the text is not plain enough. One object: no stack trace is made. */
export const giveUp = { plain: false };

// What a plain scalar or key may look like. Wider than needed on no side: in doubt the other parser is right.
const plainKey = /^[A-Za-z_./][A-Za-z0-9_./-]*$/;
const plainText = /^[A-Za-z0-9_./+-][A-Za-z0-9_./+@=()*!$%^~?;,<>|&'"\\{}[\] :#-]*$/;
const flowText = /^[A-Za-z0-9_./+-][A-Za-z0-9_./+@=-]*$/;
const integer = /^-?(0|[1-9][0-9]{0,14})$/;
// What the core schema might read as a number; also 1.1's forms, to be on the safe side.
const numberLike = /^[-+]?(\.?[0-9][0-9_]*([.eE:x]|$)|0[ox]|\.(inf|Inf|INF|nan|NaN|NAN)$)/;
const constants: Record<string, unknown> = Object.assign(Object.create(null), {
  "~": null,
  null: null,
  Null: null,
  NULL: null,
  true: true,
  True: true,
  TRUE: true,
  false: false,
  False: false,
  FALSE: false,
});

/** The text between a pair of quotes without anything to unescape. */
export function unquote(raw: string): string {
  const body = raw.slice(1, -1);
  const quote = raw.charAt(0);
  if (raw.length < 2 || raw.at(-1) !== quote || body.includes(quote)) throw giveUp;
  if (quote === '"' && body.includes("\\")) throw giveUp;
  return body;
}

/** A scalar or one-line flow collection that has its line (after the key) to itself. */
export function parseScalar(raw: string): unknown {
  const first = raw.charCodeAt(0);
  if (first === 34 || first === 39) return unquote(raw);
  if (first === 91 || first === 123) return parseFlow(raw);
  if (raw === "~") return null;
  if (!plainText.test(raw) || raw.includes(": ") || raw.includes(" #") || raw.endsWith(":")) {
    throw giveUp;
  }
  if (raw.startsWith("- ") || raw === "-" || raw.startsWith("---") || raw.startsWith("...")) {
    throw giveUp;
  }
  return resolve(raw);
}

/** A plain scalar by the core schema. */
function resolve(raw: string): unknown {
  const first = raw.charCodeAt(0);
  if (first < 58) {
    if (integer.test(raw)) return raw === "-0" ? giveUpNow() : Number(raw);
    if (numberLike.test(raw) && !isDottedText(raw)) throw giveUp;
  } else if (raw in constants) return constants[raw];
  return raw;
}

function giveUpNow(): never {
  throw giveUp;
}

/** Addresses and versions: two dots or more are no number's. */
function isDottedText(raw: string): boolean {
  const dot = raw.indexOf(".");
  return dot > 0 && raw.indexOf(".", dot + 1) > 0 && !raw.includes(":") && !raw.includes("_");
}

/** True for a key without quotes that stays the string it is. */
export function isPlainKey(raw: string): boolean {
  return plainKey.test(raw) && !(raw in constants) && !numberLike.test(raw);
}

/** `[a, b]` and `{a: b, c: [d]}` on one line. */
export function parseFlow(raw: string): unknown {
  const parser = new FlowParser(raw);
  const value = parser.value(0);
  if (parser.at !== raw.length) throw giveUp;
  return value;
}

class FlowParser {
  at = 0;

  constructor(private readonly raw: string) {}

  value(depth: number): unknown {
    if (depth > 20) throw giveUp;
    this.blanks();
    const open = this.raw.charAt(this.at);
    if (open === "[") return this.list(depth);
    if (open === "{") return this.mapping(depth);
    const text = this.token();
    if (isQuoted(text)) return unquote(text);
    if (!flowText.test(text) || /^-+$/.test(text)) throw giveUp;
    return resolve(text);
  }

  private list(depth: number): unknown[] {
    const items: unknown[] = [];
    this.items("]", () => items.push(this.value(depth + 1)));
    return items;
  }

  private mapping(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    this.items("}", () => {
      const text = this.token();
      if (!isQuoted(text) && !isPlainKey(text)) throw giveUp;
      const key = isQuoted(text) ? unquote(text) : text;
      if (!this.raw.startsWith(": ", this.at) || key in object) throw giveUp;
      this.at += 2;
      object[key] = this.value(depth + 1);
    });
    return object;
  }

  /** Items between the bracket at hand and `close`, with commas between them. */
  private items(close: string, read: () => void) {
    this.at++;
    this.blanks();
    if (this.raw.charAt(this.at) === close) {
      this.at++;
      return;
    }
    for (;;) {
      read();
      this.blanks();
      const next = this.raw.charAt(this.at++);
      if (next === close) return;
      if (next !== ",") throw giveUp;
      this.blanks();
    }
  }

  private token(): string {
    const { raw } = this;
    const from = this.at;
    const quote = raw.charAt(from);
    if (quote === '"' || quote === "'") {
      this.at = raw.indexOf(quote, from + 1) + 1;
      if (this.at === 0) throw giveUp;
    } else while (this.at < raw.length && !" ,:[]{}".includes(raw.charAt(this.at))) this.at++;
    return raw.slice(from, this.at);
  }

  private blanks() {
    while (this.raw.charCodeAt(this.at) === 32) this.at++;
  }
}

function isQuoted(text: string): boolean {
  return text.startsWith('"') || text.startsWith("'");
}
