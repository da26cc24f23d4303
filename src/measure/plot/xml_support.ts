/** For tests: reads SVG strictly, as an XML parser would, and looks whether texts lie upon each other. */
import assert from "node:assert/strict";
import { textWidth } from "../../model/svg.ts";

/** An element, with the text right in it. */
interface Found {
  name: string;
  attributes: Record<string, string | undefined>;
  text: string;
}

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" };

function plain(text: string): string {
  assert.doesNotMatch(text, /</, "a bare < in a text");
  return text.replaceAll(/&([^;&]*;?)/g, (entity, name: string) => {
    const known = name.endsWith(";") ? ENTITIES[name.slice(0, -1)] : undefined;
    assert.ok(known !== undefined, `${entity} is no entity`);
    return known;
  });
}

/** All elements in the order of their beginnings. Throws where the text is not well-formed XML. */
export function elements(svg: string): Found[] {
  // deno-lint-ignore no-control-regex -- forbidden in XML
  assert.doesNotMatch(svg, /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/, "a control character");
  const found: Found[] = [], open: Found[] = [];
  const tag = /<(\/?)([a-z]+)((?:\s+[a-zA-Z:-]+="[^"<]*")*)\s*(\/?)>/y;
  let at = 0;
  while (at < svg.length) {
    const next = svg.indexOf("<", at);
    const text = plain(svg.slice(at, next < 0 ? svg.length : next));
    if (open.length > 0) open.at(-1)!.text += text;
    else assert.equal(text.trim(), "", "text outside of the root");
    if (next < 0) break;
    tag.lastIndex = next;
    const match = tag.exec(svg);
    assert.ok(match, `no element: ${svg.slice(next, next + 60)}`);
    const [whole, closing, name = "", attributes = "", empty] = match;
    at = next + whole.length;
    if (closing) {
      assert.equal(open.pop()?.name, name, `</${name}> ends something else`);
      continue;
    }
    const pairs = [...attributes.matchAll(/([a-zA-Z:-]+)="([^"]*)"/g)]
      .map(([, key, value]) => [key!, plain(value!)] as const);
    assert.equal(new Set(pairs.map(([key]) => key)).size, pairs.length, `twice in ${whole}`);
    const element = { name, attributes: Object.fromEntries(pairs), text: "" };
    assert.ok(found.length === 0 || open.length > 0, "more than one root");
    found.push(element);
    if (!empty) open.push(element);
  }
  assert.deepEqual(open, [], "an element without its end");
  return found;
}

/** Fails when a text leaves the picture, or touches another one. */
export function assertApart(svg: string, id: string): void {
  const all = elements(svg);
  const [width, height] = [Number(all[0]!.attributes.width), Number(all[0]!.attributes.height)];
  const boxes = all.filter(({ name }) => name === "text").map(({ text, attributes }) => {
    const size = Number(attributes["font-size"] ?? 13);
    const wide = textWidth(text, size, attributes["font-weight"] !== undefined);
    const anchor = { middle: 0.5, end: 1 }[attributes["text-anchor"] ?? ""] ?? 0;
    const left = Number(attributes.x) - anchor * wide;
    const bottom = Number(attributes.y);
    return { text, left, right: left + wide, top: bottom - 0.75 * size, bottom };
  });
  for (const [i, a] of boxes.entries()) {
    const inside = a.left >= 0 && a.right <= width && a.top >= 0 && a.bottom <= height;
    assert.ok(inside, `${id}: outside: ${a.text}`);
    for (const b of boxes.slice(i + 1)) {
      const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top ||
        b.bottom <= a.top;
      assert.ok(apart, `${id}: "${a.text}" touches "${b.text}"`);
    }
  }
}
