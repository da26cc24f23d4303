/**
 * One piece of a manifest file into objects: JSON by JSON.parse(), everything else by js-yaml, which is asked once more for
 * the line when a value is wrong.
 */
import {
  CORE_SCHEMA,
  type Event,
  EVENT_ID,
  getScalarValue,
  loadAll,
  mergeTag,
  parseEvents,
  YAMLException,
} from "js-yaml";
import type { ClusterObject } from "../model/objects.ts";
import { decodeDocument } from "./decode.ts";
import { type Path } from "./reader.ts";

/** Something wrong in a piece. */
interface PieceProblem {
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

/** Shared: most documents have no problems. */
const none: readonly never[] = [];

/** Of a piece; each is looked for in the text. */
const maxProblems = 10;

/** YAML takes a second and 60 MB for two megabytes; the API server takes no larger object (etcd). */
const maxYamlBytes = 1536 << 10;

/** A hundred aliases in a document are more than a person writes. */
const options = { schema: CORE_SCHEMA.withTags(mergeTag), maxAliases: 100 };

/** Reads the objects of a piece. Never throws: what is wrong is among the problems. */
export function parsePiece(bytes: Uint8Array): PieceResult {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return failure(0, "is not UTF-8 text");
  }
  let documents: unknown[];
  try {
    documents = parseDocuments(text);
  } catch (error) {
    if (error instanceof YAMLException) return failure(error.mark?.line ?? 0, error.reason);
    return failure(0, (error as Error).message);
  }
  let events: Event[] | undefined;
  const objects: ClusterObject[] = [], ignored: string[] = [], problems: PieceProblem[] = [];
  for (const [index, document] of documents.entries()) {
    for (const one of decodeDocument(document)) {
      if (problems.length === maxProblems) break;
      if ("object" in one) objects.push(one.object);
      else if ("ignored" in one) ignored.push(one.ignored);
      else {
        events ??= eventsOf(text);
        const offset = lineOf(text, events, index, one.error.path);
        problems.push({ offset, object: one.title, reason: one.error.message });
      }
    }
  }
  const orNone = <T>(list: T[]): readonly T[] => list.length === 0 ? none : list;
  return { objects: orNone(objects), ignored: orNone(ignored), problems: orNone(problems) };
}

function failure(offset: number, reason: string): PieceResult {
  return { objects: none, ignored: none, problems: [{ offset, reason }] };
}

/** The values of a piece's documents. @throws {YAMLException} with the line (from 0) where the text is no YAML */
export function parseDocuments(text: string): unknown[] {
  const body = text.replace(/^---[ ]*(\n|$)/, "");
  if (/^\s*[{[]/.test(body)) {
    try {
      return [JSON.parse(body)];
    } catch {
      // A flow collection that is not JSON, or broken: js-yaml names the line.
    }
  }
  if (text.length > maxYamlBytes) throw new Error(tooLarge(text.length));
  return loadAll(text, options);
}

function tooLarge(length: number): string {
  return `a document of ${Math.round(length / 1024)} KiB is too large for YAML: at most ${
    maxYamlBytes >> 10
  } KiB; write one document for each object, or JSON`;
}

/** Empty for JSON that is no YAML (tabs), or too large to be looked through. */
function eventsOf(text: string): Event[] {
  try {
    return text.length > maxYamlBytes ? [] : parseEvents(text, {});
  } catch {
    return [];
  }
}

/** The line of the value at `path`, or of the nearest one around it that is there, from 0. */
function lineOf(text: string, events: Event[], document: number, path: Path): number {
  if (events.length === 0) return 0;
  const opened = events.flatMap(({ type }, i) => type === EVENT_ID.DOCUMENT ? [i] : []);
  const offset = offsetOf(text, events, opened[document]! + 1, path);
  return text.slice(0, offset).split("\n").length - 1;
}

/** Where the value at `path` begins, below the one that event `at` opens. */
function offsetOf(text: string, events: Event[], at: number, [step, ...rest]: Path): number {
  const event = events[at]!;
  let next = at + 1;
  if (event.type === EVENT_ID.MAPPING) {
    for (let value = next + 1; events[next]!.type !== EVENT_ID.POP; value = next + 1) {
      const key = events[next]!;
      if (key.type === EVENT_ID.SCALAR && getScalarValue(text, key) === step) {
        return offsetOf(text, events, value, rest);
      }
      next = behind(events, behind(events, next));
    }
  } else if (event.type === EVENT_ID.SEQUENCE) {
    for (let i = 0; events[next]!.type !== EVENT_ID.POP; i++) {
      if (i === step) return offsetOf(text, events, next, rest);
      next = behind(events, next);
    }
  }
  if (event.type === EVENT_ID.ALIAS) return event.anchorStart;
  return "start" in event ? event.start : "valueStart" in event ? event.valueStart : 0;
}

/** The event behind the value that event `at` opens. */
function behind(events: Event[], at: number): number {
  for (let depth = 0;; at++) {
    const { type } = events[at]!;
    if (type === EVENT_ID.SEQUENCE || type === EVENT_ID.MAPPING) depth++;
    else if (type === EVENT_ID.POP) depth--;
    if (depth === 0) return at + 1;
  }
}
