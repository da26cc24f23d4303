/**
 * A manifest file taken apart into documents, as bytes and piece by piece: an unchanged document is recognized by its hash
 * and never decoded, and a file of any size needs memory for one document. That is what makes one change in a file of ten
 * thousand Services cheap.
 */

/** One document. */
export interface Piece {
  /** Its bytes, good until the next piece is asked for. The separator line is part of the document that it opens. */
  bytes: Uint8Array<ArrayBuffer>;
  /** 1 for the first line of the file. */
  line: number;
  /** Of the content; equal documents have equal ones. 53 bits: a chance meeting needs some 10^8 documents. */
  hash: number;
}

/** Bytes in a document; it is in memory as a whole. */
const maxDocument = 32 << 20;
/** Lines that take some milliseconds. */
const pauseLines = 1 << 14;

const newline = 10, dash = 45, dot = 46, percent = 37, space = 32, tab = 9, carriage = 13;

/**
 * Splits at lines that start with `---` (YAML 1.2, 9.1.2: never part of a document's content in the first column). From a
 * directive (`%`) or a document end (`...`) on there is more to YAML than that, and the rest is one piece.
 *
 * @param read fills a buffer with what comes next; returns how many bytes, 0 at the end
 * @returns undefined now and then, where a caller may pause
 * @throws Error for a document that is larger than `maxDocument`
 */
export function* splitDocuments(
  read: (into: Uint8Array<ArrayBuffer>) => number,
): Generator<Piece | undefined, void, void> {
  const source = new Window(read);
  let firstLine = 1, whole = false;
  // `at` is where a line starts, relative to the document at hand.
  for (let line = 1, at = 0, end = source.lineEnd(at); end > at; line++) {
    if (at > 0 && !whole && source.isMarker(at, dash)) {
      yield source.piece(at, firstLine);
      source.drop(at);
      firstLine = line;
      end -= at;
    } else if (source.byte(at) === percent || source.isMarker(at, dot)) whole = true;
    if (end > maxDocument) throw new Error(tooLarge(firstLine));
    if (line % pauseLines === 0) yield undefined;
    at = end;
    end = source.lineEnd(at);
  }
  if (source.length > 0) yield source.piece(source.length, firstLine);
}

function tooLarge(line: number): string {
  return `the document in line ${line} is larger than ${maxDocument >> 20} MiB: ` +
    "write one document for each object";
}

/** The part of a file that is in memory: from the start of the document at hand on. */
class Window {
  #buffer = new Uint8Array(1 << 18);
  #start = 0;
  #end = 0;
  #complete = false;

  readonly #read: (into: Uint8Array<ArrayBuffer>) => number;

  constructor(read: (into: Uint8Array<ArrayBuffer>) => number) {
    this.#read = read;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** A byte of the document, read when it is not there yet; undefined behind the end of the file. */
  byte(at: number): number | undefined {
    while (at >= this.length) if (!this.#fill()) return undefined;
    return this.#buffer[this.#start + at];
  }

  /** Behind the line that starts at `at`, its line feed included; `at` at the end of the file. */
  lineEnd(at: number): number {
    for (let from = at;;) {
      const found = this.#buffer.subarray(this.#start, this.#end).indexOf(newline, from);
      if (found >= 0) return found + 1;
      from = this.length;
      if (!this.#fill()) return this.length;
    }
  }

  /** Three times `mark`, then a blank or the line's end. */
  isMarker(at: number, mark: number): boolean {
    if (this.byte(at) !== mark || this.byte(at + 1) !== mark || this.byte(at + 2) !== mark) {
      return false;
    }
    const after = this.byte(at + 3);
    return after === undefined || after === newline || after === space || after === tab ||
      after === carriage;
  }

  piece(length: number, line: number): Piece {
    const bytes = this.#buffer.subarray(this.#start, this.#start + length);
    return { bytes, line, hash: hashBytes(bytes) };
  }

  /** Forgets the first `length` bytes. */
  drop(length: number) {
    this.#start += length;
  }

  /** Reads more; false at the end of the file. */
  #fill(): boolean {
    if (this.#complete) return false;
    if (this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#end === this.#buffer.length) {
      const larger = new Uint8Array(this.#buffer.length * 2);
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    const count = this.#read(this.#buffer.subarray(this.#end));
    this.#complete = count === 0;
    this.#end += count;
    return !this.#complete;
  }
}

/** Multiply-and-xor over four bytes at a time in two lanes (after cyrb53), as a 53 bit number. */
export function hashBytes(bytes: Uint8Array): number {
  const { length } = bytes;
  let a = 0xdeadbeef ^ length, b = 0x41c6ce57;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) |
      (bytes[at + 3]! << 24);
    a = Math.imul(a ^ word, 0x9e3779b1);
    b = Math.imul(b ^ word, 0x5f356495);
    a ^= a >>> 15;
    b ^= b >>> 13;
  }
  for (; at < length; at++) {
    a = Math.imul(a ^ bytes[at]!, 0x9e3779b1);
    b = Math.imul(b ^ bytes[at]!, 0x5f356495);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return (b & 0x1fffff) * 4294967296 + (a >>> 0);
}
