/** SVG elements as text: escaping, and how much room a text takes (pure). */

/** Attributes; those that are undefined are left out, numbers get two decimals at most. */
type Attributes = Record<string, string | number | undefined>;

/** Fonts that are there without being fetched; the widest of them is what `textWidth` reckons with. */
export const FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";

/** Text for an element or an attribute. What XML 1.0 forbids altogether (control characters) becomes U+FFFD. */
export function escapeXml(text: string): string {
  return text
    // deno-lint-ignore no-control-regex -- these are what XML 1.0, section 2.2, leaves out
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Cs}/gu, "\ufffd")
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}

/**
 * One element. `content` is SVG already; text goes through `escapeXml` first.
 * @throws {RangeError} for a number that is none, which a browser would not draw
 */
export function element(name: string, attributes: Attributes, content = ""): string {
  const written = Object.entries(attributes).flatMap(([key, value]) => {
    if (value === undefined) return [];
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw new RangeError(`${key} of <${name}> is ${value}`);
    }
    const text = typeof value === "number" ? String(Math.round(value * 100) / 100) : value;
    return [` ${key}="${escapeXml(text)}"`];
  }).join("");
  return content === "" ? `<${name}${written}/>` : `<${name}${written}>${content}</${name}>`;
}

/** A text; `full` is what a pointer that rests on it gets to see. */
export function text(
  x: number,
  y: number,
  content: string,
  attributes: Attributes = {},
  full?: string,
): string {
  const hint = full === undefined || full === content ? "" : element("title", {}, escapeXml(full));
  return element("text", { x, y, ...attributes }, hint + escapeXml(content));
}

/** Pixels that a text takes at most in one of FONT's: DejaVu Sans' widths, which are the largest. */
export function textWidth(content: string, size: number, bold = false): number {
  let em = 0;
  for (const character of content) {
    if (/[il.,:;'|!\sjI]/.test(character)) em += 0.34;
    else if (/[mwMW@%…—→]/.test(character)) em += 0.97;
    else if (/[A-Z&]/.test(character)) em += 0.7;
    else if (character.codePointAt(0)! >= 0x2e80) em += 1.05;
    else em += 0.63;
  }
  return em * size * (bold ? 1.1 : 1);
}

/** The text, cut short with "…" where it is wider than `width` pixels. */
export function fit(content: string, width: number, size: number, bold = false): string {
  // Half a pixel is the rounding of sums.
  if (textWidth(content, size, bold) <= width + 0.5) return content;
  const characters = [...content];
  while (characters.length > 0 && textWidth(`${characters.join("")}…`, size, bold) > width) {
    characters.pop();
  }
  return `${characters.join("").trimEnd()}…`;
}

/** The text in lines of at most `width` pixels, `limit` of them; the last is cut short if need be. */
export function wrap(
  content: string,
  width: number,
  size: number,
  limit: number,
  bold = false,
): string[] {
  const lines: string[] = [];
  let rest = content.replaceAll(/\s+/g, " ").trim();
  while (rest !== "" && lines.length < limit) {
    if (lines.length === limit - 1 || textWidth(rest, size, bold) <= width) {
      lines.push(fit(rest, width, size, bold));
      break;
    }
    const words = rest.split(" ");
    let taken = words.shift()!;
    while (words.length > 0 && textWidth(`${taken} ${words[0]}`, size, bold) <= width) {
      taken += ` ${words.shift()}`;
    }
    lines.push(fit(taken, width, size, bold));
    rest = words.join(" ");
  }
  return lines;
}
