/**
 * One piece of a manifest file into objects. JSON and the `js-yaml` package first, which are quick; the `yaml` package,
 * which takes nine times as long and knows where everything stands, when they do not apply and to find the line when
 * something is wrong.
 */
import { CORE_SCHEMA, load } from "js-yaml";
import { type Document, isNode, LineCounter, parseAllDocuments } from "yaml";
import type { ClusterObject } from "../model/objects.ts";
import { type Decoded, decodeDocument } from "./decode.ts";
import { type Path } from "./reader.ts";

/** Something wrong in a piece. */
export interface PieceProblem {
  /** Lines below the piece's first one. */
  offset: number;
  /** `Service default/web`, as far as known. */
  object?: string;
  reason: string;
}

export interface PieceResult {
  objects: readonly ClusterObject[];
  /** `apiVersion/kind` of what is not pcnk's business. */
  ignored: readonly string[];
  problems: readonly PieceProblem[];
}

/** One for all: most documents have nothing to tell. */
const none: readonly never[] = [];

const options = { merge: true, prettyErrors: false, logLevel: "silent" } as const;

/** Reads the objects of a piece. Never throws: what is wrong is among the problems. */
export function parsePiece(bytes: Uint8Array): PieceResult {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return { objects: none, ignored: none, problems: [{ offset: 0, reason: "is not UTF-8 text" }] };
  }
  const quick = parseQuickly(text);
  if (quick === undefined) return parseWhole(text);
  return collect(decodeDocument(quick.value).map((one) => [one, 0] as const), text, none);
}

/** Merge keys, which js-yaml's core schema lacks; anchors and aliases, which only the other parser keeps within bounds. */
const beyondQuick = /<<|(^|[\s[{,])[&*]/;

/**
 * The value of a piece of one document, in a wrapper; undefined when the whole parser must be asked: there are several
 * documents, something of `beyondQuick`, or a mistake.
 */
export function parseQuickly(text: string): { value: unknown } | undefined {
  const opener = /^---[ ]*(\n|$)/.exec(text);
  const body = opener === null ? text : text.slice(opener[0].length);
  if (/^\s*[{[]/.test(body)) {
    try {
      return { value: JSON.parse(body) };
    } catch {
      return undefined; // a flow collection that is not JSON, or broken: the whole parser tells
    }
  }
  if (beyondQuick.test(body)) return undefined;
  try {
    return { value: load(body, { schema: CORE_SCHEMA }) };
  } catch {
    return undefined;
  }
}

function parseWhole(text: string): PieceResult {
  const lines = new LineCounter();
  const documents = [...parseAllDocuments(text, { ...options, lineCounter: lines })];
  const problems: PieceProblem[] = [];
  const decoded: (readonly [Decoded, number])[] = [];
  for (const [i, document] of documents.entries()) {
    const [error] = document.errors;
    if (error !== undefined) {
      problems.push({ offset: lines.linePos(error.pos[0]).line - 1, reason: message(error) });
      continue;
    }
    try {
      for (const one of decodeDocument(document.toJS())) decoded.push([one, i]);
    } catch (refusal) { // toJS() refuses aliases without end
      problems.push({ offset: lineOf(document, [], lines), reason: message(refusal) });
    }
  }
  return collect(decoded, text, problems);
}

function message(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n")[0]!.replace(/:$/, "");
}

/** Sorts out what decoding gave. The number beside each is its document's index in `text`. */
function collect(
  decoded: (readonly [Decoded, number])[],
  text: string,
  before: readonly PieceProblem[],
): PieceResult {
  const objects: ClusterObject[] = [], ignored: string[] = [], problems = [...before];
  for (const [one, index] of decoded) {
    if ("object" in one) objects.push(one.object);
    else if ("ignored" in one) ignored.push(one.ignored);
    else {
      problems.push({
        offset: locate(text, index, one.error.path),
        reason: one.error.message,
        ...(one.title === undefined ? {} : { object: one.title }),
      });
    }
  }
  const orNone = <T>(list: T[]): readonly T[] => list.length === 0 ? none : list;
  return { objects: orNone(objects), ignored: orNone(ignored), problems: orNone(problems) };
}

/** The line of the value at `path`, from 0. Parses again: only mistakes cost that. */
function locate(text: string, index: number, path: Path): number {
  const lines = new LineCounter();
  const document = [...parseAllDocuments(text, { ...options, lineCounter: lines })][index];
  return document === undefined ? 0 : lineOf(document, path, lines);
}

/** The value's line, or that of the nearest one around it that is there. */
function lineOf(document: Document | Document.Parsed, path: Path, lines: LineCounter): number {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line - 1;
  }
  return 0;
}
