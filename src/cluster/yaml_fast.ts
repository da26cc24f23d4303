/**
 * A parser for the plain YAML that Kubernetes objects are mostly written in, some twenty times as fast as a whole one.
 *
 * It knows block mappings and sequences, one-line scalars, one-line flow collections and `|` texts. Whatever else comes
 * (anchors, tags, comments behind values, folded text, escapes, doubtful numbers, duplicate keys, errors) it does not
 * guess but returns `undefined`, and the caller asks the `yaml` package, which also words the error. What it does
 * return equals that package's answer (YAML 1.2 core schema); yaml_fast_test.ts compares the two.
 */

import { giveUp, isPlainKey, parseScalar, unquote } from "./yaml_scalar.ts";

/** The value of a document of plain YAML in a wrapper, or undefined when the text needs a whole parser. */
export function parsePlainYaml(text: string): { value: unknown } | undefined {
  if (/[\r\t\u0085\u2028\u2029\ufeff]/.test(text)) return undefined;
  try {
    const parser = new PlainParser(text);
    parser.nextLine();
    if (parser.indent < 0) return { value: null };
    const value = parser.block(parser.indent);
    return parser.indent < 0 ? { value } : undefined;
  } catch (error) {
    if (error === giveUp) return undefined;
    throw error;
  }
}

class PlainParser {
  /** Column of the current line's first character; -1 after the last line. */
  indent = -1;
  /** Where the current line's content starts and ends (without trailing blanks). */
  private start = 0;
  private end = 0;
  private next = 0;
  private depth = 0;

  constructor(private readonly text: string) {}

  /** Goes to the next line that is neither blank nor a comment. */
  nextLine() {
    const { text } = this;
    while (this.next < text.length) {
      let end = text.indexOf("\n", this.next);
      if (end < 0) end = text.length;
      let start = this.next;
      while (start < end && text.charCodeAt(start) === 32) start++;
      const lineStart = this.next;
      this.next = end + 1;
      if (start === end || text.charCodeAt(start) === 35) continue;
      while (text.charCodeAt(end - 1) === 32) end--;
      this.indent = start - lineStart;
      this.start = start;
      this.end = end;
      return;
    }
    this.indent = -1;
  }

  /** The block collection whose lines start in column `indent`, the current one first. */
  block(indent: number): unknown {
    if (++this.depth > 60) throw giveUp;
    const value = this.isItem() ? this.sequence(indent) : this.mapping(indent);
    this.depth--;
    return value;
  }

  private isItem(): boolean {
    return this.text.charCodeAt(this.start) === 45 &&
      (this.start + 1 === this.end || this.text.charCodeAt(this.start + 1) === 32);
  }

  private sequence(indent: number): unknown[] {
    const items: unknown[] = [];
    while (this.indent === indent && this.isItem()) {
      let start = this.start + 1;
      while (start < this.end && this.text.charCodeAt(start) === 32) start++;
      if (start >= this.end) throw giveUp; // "-" alone: the item is on the next lines
      const inner = indent + start - this.start;
      this.start = start;
      if (this.isItem()) throw giveUp;
      const colon = this.keyEnd();
      if (colon < 0) items.push(this.scalarLine(indent));
      else {
        this.indent = inner;
        items.push(this.block(inner));
      }
    }
    if (this.indent > indent) throw giveUp;
    return items;
  }

  private mapping(indent: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    while (this.indent === indent) {
      if (this.isItem()) break;
      const colon = this.keyEnd();
      if (colon < 0) throw giveUp;
      const key = this.key(this.text.slice(this.start, colon));
      if (key in object) throw giveUp; // twice, or one of Object's own names
      object[key] = this.mappingValue(colon + 1, indent);
    }
    if (this.indent > indent) throw giveUp;
    return object;
  }

  /** Index of the colon that ends the key at the start of the line, or -1. */
  private keyEnd(): number {
    const { text, end } = this;
    const quote = text.charCodeAt(this.start);
    let i = this.start;
    if (quote === 34 || quote === 39) {
      i = text.indexOf(text.charAt(this.start), i + 1) + 1;
      if (i <= 0 || i > end) throw giveUp;
      if (i === end || text.charCodeAt(i) !== 58) return -1;
      if (i + 1 < end && text.charCodeAt(i + 1) !== 32) throw giveUp;
      return i;
    }
    for (; i < end; i++) {
      if (text.charCodeAt(i) === 58 && (i + 1 === end || text.charCodeAt(i + 1) === 32)) return i;
    }
    return -1;
  }

  private key(raw: string): string {
    const first = raw.charCodeAt(0);
    if (first === 34 || first === 39) return unquote(raw);
    if (!isPlainKey(raw)) throw giveUp;
    return raw;
  }

  private mappingValue(from: number, indent: number): unknown {
    let start = from;
    while (start < this.end && this.text.charCodeAt(start) === 32) start++;
    this.start = start;
    if (start < this.end) {
      return this.text.charCodeAt(start) === 124 ? this.literal(indent) : this.scalarLine(indent);
    }
    this.nextLine();
    if (this.indent > indent) return this.nested();
    // A sequence may stand in the column of its key.
    if (this.indent === indent && this.isItem()) return this.block(indent);
    return null;
  }

  /** A block collection on the lines below its key; a scalar there is the other parser's. */
  private nested(): unknown {
    if (!this.isItem() && this.keyEnd() < 0) throw giveUp;
    return this.block(this.indent);
  }

  /** The scalar or flow collection that fills the rest of the line; goes on to the next line. */
  private scalarLine(indent: number): unknown {
    const raw = this.text.slice(this.start, this.end);
    const value = parseScalar(raw);
    this.nextLine();
    if (this.indent > indent) throw giveUp; // goes on over several lines
    return value;
  }

  /** A `|` or `|-` text. */
  private literal(indent: number): string {
    const { text } = this;
    const header = text.slice(this.start, this.end);
    if (header !== "|" && header !== "|-") throw giveUp;
    const lines: string[] = [];
    /** Where the text's lines start, as its first one says. */
    let column = -1;
    while (this.next < text.length) {
      const end = text.indexOf("\n", this.next);
      if (end < 0) throw giveUp; // no line feed at the end of the file: clipping has rules of its own
      let start = this.next;
      while (start < end && text.charCodeAt(start) === 32) start++;
      const here = start - this.next;
      if (start === end) {
        if (column < 0 || here > column) throw giveUp;
        lines.push("");
      } else {
        if (column < 0) column = here;
        if (here <= indent) break;
        if (here < column) throw giveUp;
        lines.push(text.slice(this.next + column, end));
      }
      this.next = end + 1;
    }
    while (lines.at(-1) === "") lines.pop();
    if (lines.length === 0) throw giveUp;
    this.nextLine();
    return lines.join("\n") + (header === "|" ? "\n" : "");
  }
}
