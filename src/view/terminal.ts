/** Colours and columns for a terminal, pure but for asking what the streams are. */

const CODES = { green: 32, red: 31, yellow: 33, dim: 2, bold: 1 } as const;

/** A colour or weight. */
export type Style = keyof typeof CODES;

/** Wraps text in escape codes, or leaves it alone. */
export type Paint = (style: Style, text: string) => string;

/** Paints when `enabled`. */
export function painter(enabled: boolean): Paint {
  return (style, text) => enabled ? `\x1b[${CODES[style]}m${text}\x1b[0m` : text;
}

/** What standard output or standard error can show. `NO_COLOR` (no-color.org) and TERM=dumb turn colours off. */
export function streamLook(stream: { isTerminal(): boolean }): { terminal: boolean; paint: Paint } {
  const terminal = stream.isTerminal() && Deno.env.get("TERM") !== "dumb";
  return { terminal, paint: painter(terminal && !Deno.noColor) };
}

/** Columns of standard output when it is a terminal, else 100. */
export function outputWidth(): number {
  if (!Deno.stdout.isTerminal()) return 100;
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 80;
  }
}

/** Columns of standard output when it is a terminal; what goes into a file or a pipe has no end. */
export function terminalWidth(): number {
  return Deno.stdout.isTerminal() ? outputWidth() : Infinity;
}

/**
 * Writes to standard output, whole.
 * @throws {Deno.errors.BrokenPipe} when the reader is gone, which main.ts takes for an end
 */
export function print(text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

/** Visible width: escape codes take no room, every other character one column (no wide ones are used here). */
export function widthOf(text: string): number {
  // deno-lint-ignore no-control-regex -- these are the escape codes of painter()
  return [...text.replace(/\x1b\[\d+m/g, "")].length;
}

/** Fewest columns that text is squeezed into; on a narrower terminal its lines break where they may. */
const NARROWEST = 20;

/** Lines of words, as long as fits; a word that is longer has a line of its own. At least one line. */
export function wrap(text: string, width: number): string[] {
  if (widthOf(text) <= width) return [text];
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(last) + 1 + widthOf(word) <= Math.max(width, NARROWEST)) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}

/**
 * Lines of a table whose columns are as wide as their widest cell, two spaces apart, without trailing spaces. Within `width` the
 * last column is wrapped.
 */
export function columns(rows: string[][], width = Infinity): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, widthOf(cell)));
  }
  const before = widths.slice(0, -1).reduce((sum, one) => sum + one + 2, 0);
  const indent = " ".repeat(before);
  const pad = (row: string[]) =>
    row.map((cell, i) => cell + " ".repeat(widths[i]! - widthOf(cell))).join("  ").trimEnd();
  return rows.flatMap((row) => {
    if (row.length < widths.length) return [pad(row)];
    const [first = "", ...more] = wrap(row.at(-1) ?? "", width - before);
    return [pad([...row.slice(0, -1), first]), ...more.map((line) => indent + line)];
  });
}

/** What follows from what stands above it, in lines of this width. */
export function conclusion(text: string, bad: boolean, paint: Paint, width = Infinity): string[] {
  return wrap(text, width - 2)
    .map((line, i) => paint(bad ? "red" : "green", `${i === 0 ? "→" : " "} ${line}`));
}
