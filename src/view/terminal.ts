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

/** Visible width: escape codes take no room, every other character one column (no wide ones are used here). */
export function widthOf(text: string): number {
  // deno-lint-ignore no-control-regex -- these are the escape codes of painter()
  return [...text.replace(/\x1b\[\d+m/g, "")].length;
}

/** Lines of a table whose columns are as wide as their widest cell, two spaces apart, without trailing spaces. */
export function columns(rows: string[][]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, widthOf(cell)));
  }
  return rows.map((row) =>
    row.map((cell, i) => cell + " ".repeat(widths[i]! - widthOf(cell))).join("  ").trimEnd()
  );
}
