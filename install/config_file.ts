/** The agent's configuration file: new settings go in, and what an operator wrote, comments too, stays. */
import { Document, isMap, isNode, parseDocument } from "yaml";
import { settingsTree } from "./set_options.ts";

const HEAD =
  " Settings of pcnk's agent; `pcnk agent --help` lists them all. `pcnk install --set KEY=VALUE` changes one.";

/**
 * The file's text with `given` set.
 * @param present its text as it is; undefined when there is none
 * @throws Error when the present text is no mapping
 */
export function configText(
  present: string | undefined,
  given: ReadonlyMap<string, string>,
): string {
  const document = present === undefined || present.trim() === ""
    ? fresh()
    : parseDocument(present, { prettyErrors: false });
  const [error] = document.errors;
  const broken = error?.message ??
    (document.contents === null || isMap(document.contents)
      ? undefined
      : "it is no mapping of settings");
  if (broken !== undefined) throw new Error(`the file cannot be read: ${broken}`);
  if (given.size === 0 && present !== undefined) return present;
  set(document as Document, [], settingsTree(given));
  return document.toString({ lineWidth: 0 });
}

function fresh(): Document {
  const document = new Document({});
  document.commentBefore = HEAD;
  if (isMap(document.contents)) document.contents.flow = false;
  return document;
}

function set(document: Document, path: string[], tree: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(tree)) {
    const at = [...path, key];
    const nested = typeof value === "object" && value !== null && !Array.isArray(value);
    if (nested) set(document, at, value as Record<string, unknown>);
    else setValue(document, at, value);
  }
}

/** The comment behind the old value stays. */
function setValue(document: Document, at: string[], value: unknown): void {
  const old = document.getIn(at, true);
  const node = document.createNode(value);
  if (isNode(old) && old.comment) node.comment = old.comment;
  document.setIn(at, node);
}
