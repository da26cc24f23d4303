/**
 * A manifest file taken apart into documents, as bytes: what has not changed is told by its hash and never decoded,
 * which is what makes one change in a file of ten thousand Services cheap.
 */

/** One document's bytes. */
export interface Piece {
  /** Byte offsets into the file. */
  start: number;
  end: number;
  /** 1 for the first line of the file. */
  line: number;
  /** Of the content; equal documents have equal ones. 53 bits: a chance meeting needs some 10^8 documents. */
  hash: number;
}

/** True for a file with directives (`%`) or document ends (`...`): those do not split by `---` alone. */
interface Split {
  pieces: Piece[];
  whole: boolean;
}

const newline = 10, dash = 45, dot = 46, percent = 37, space = 32, tab = 9, carriage = 13;

/**
 * Splits at lines that start with `---` (YAML 1.2, 9.1.2: never part of a document's content in the first column).
 * The separator belongs to the piece that it opens.
 */
export function splitDocuments(bytes: Uint8Array): Piece[] {
  const { pieces, whole } = split(bytes);
  if (!whole) return pieces;
  return [{ start: 0, end: bytes.length, line: 1, hash: hashBytes(bytes, 0, bytes.length) }];
}

function split(bytes: Uint8Array): Split {
  const pieces: Piece[] = [];
  let start = 0, startLine = 1, line = 1;
  const close = (end: number) => {
    if (end > start) {
      pieces.push({ start, end, line: startLine, hash: hashBytes(bytes, start, end) });
    }
  };
  for (let at = 0; at < bytes.length; line++) {
    const first = bytes[at];
    if (first === dash && at > start && isMarker(bytes, at, dash)) {
      close(at);
      start = at;
      startLine = line;
    } else if (first === percent || (first === dot && isMarker(bytes, at, dot))) {
      return { pieces, whole: true };
    }
    const end = bytes.indexOf(newline, at);
    at = end < 0 ? bytes.length : end + 1;
  }
  close(bytes.length);
  return { pieces, whole: false };
}

/** Three times `mark`, then a blank or the line's end. */
function isMarker(bytes: Uint8Array, at: number, mark: number): boolean {
  if (bytes[at + 1] !== mark || bytes[at + 2] !== mark) return false;
  const after = bytes[at + 3];
  return after === undefined || after === newline || after === space || after === tab ||
    after === carriage;
}

/** Two rounds of multiply-and-xor over four bytes at a time (after cyrb53), as a 53 bit number. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let a = 0xdeadbeef ^ (end - start), b = 0x41c6ce57;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) |
      (bytes[at + 3]! << 24);
    a = Math.imul(a ^ word, 0x9e3779b1);
    b = Math.imul(b ^ word, 0x5f356495);
    a ^= a >>> 15;
    b ^= b >>> 13;
  }
  for (; at < end; at++) {
    a = Math.imul(a ^ bytes[at]!, 0x9e3779b1);
    b = Math.imul(b ^ bytes[at]!, 0x5f356495);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return (b & 0x1fffff) * 4294967296 + (a >>> 0);
}
