/** Text in Markdown, so that names stay names: no markup, no HTML, no broken table (pure). */

/** One line of running text. */
export function inline(text: string): string {
  return text
    // deno-lint-ignore no-control-regex -- what a terminal or a page might take for a command
    .replaceAll(/[\u0000-\u001f\u007f]+/g, " ")
    .replaceAll(/[\\`*_[\]|~]/g, (mark) => `\\${mark}`)
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .trim();
}

/** A table's cell; an empty one is a dash. */
export function block(text: string): string {
  return inline(text) || "–";
}

/** A table; the first row is its head. Cells are Markdown already. */
export function table([head = [], ...rows]: readonly string[][]): string {
  if (rows.length === 0) return "";
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");
}

/** A list of texts. */
export function lines(texts: readonly string[]): string {
  return texts.map((text) => `- ${inline(text)}`).join("\n");
}
