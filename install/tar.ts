/** Writes tar archives (POSIX ustar), owner root, no times: the same input gives the same bytes. */

/** One thing in an archive. Paths are relative, at most 100 bytes. */
export type TarEntry =
  | { path: string; mode: number; content: Uint8Array }
  | { path: string; mode: number; directory: true }
  | { path: string; target: string };

const BLOCK = 512;

/**
 * The archive's bytes.
 * @throws {RangeError} for a path that is too long
 */
export function tar(entries: readonly TarEntry[]): Uint8Array<ArrayBuffer> {
  const parts = entries.flatMap((entry) =>
    "content" in entry ? [header(entry), padded(entry.content)] : [header(entry)]
  );
  parts.push(new Uint8Array(2 * BLOCK));
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function padded(content: Uint8Array): Uint8Array {
  const rest = content.length % BLOCK;
  if (rest === 0) return content;
  const bytes = new Uint8Array(content.length + BLOCK - rest);
  bytes.set(content);
  return bytes;
}

function header(entry: TarEntry): Uint8Array {
  const bytes = new Uint8Array(BLOCK);
  const put = (at: number, text: string, room: number) => {
    const encoded = new TextEncoder().encode(text);
    if (encoded.length > room) throw new RangeError(`too long for a tar archive: ${text}`);
    bytes.set(encoded, at);
  };
  const octal = (at: number, value: number, digits: number) =>
    put(at, value.toString(8).padStart(digits, "0"), digits);
  const directory = "directory" in entry;
  put(0, directory ? `${entry.path}/` : entry.path, 100);
  octal(100, "mode" in entry ? entry.mode : 0o777, 7);
  octal(108, 0, 7); // owner
  octal(116, 0, 7); // group
  octal(124, "content" in entry ? entry.content.length : 0, 11);
  octal(136, 0, 11); // time
  put(156, directory ? "5" : "target" in entry ? "2" : "0", 1);
  if ("target" in entry) put(157, entry.target, 100);
  put(257, "ustar\x0000", 8);
  // The checksum is that of the header with blanks in its place.
  put(148, " ".repeat(8), 8);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `, 8);
  return bytes;
}
