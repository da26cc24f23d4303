/**
 * What one manifest file holds, and what it held before: documents that stay the same are not parsed again, and a
 * broken file keeps its last good state.
 */
import { type ClusterObject, objectTitle } from "../model/objects.ts";
import type { Piece } from "./documents.ts";
import { parsePiece, type PieceResult } from "./parse.ts";
import { isLarge, type PieceWorker } from "./piece_worker.ts";
import { same } from "./same.ts";
import type { SourceProblem } from "./source.ts";

/** An object and the line its document starts in. */
export interface ManifestEntry {
  object: ClusterObject;
  line: number;
}

export interface ManifestFile {
  /** In effect, by title (`Service default/web`). */
  entries: Map<string, ManifestEntry>;
  /** Why the file is broken; empty when it is good. */
  problems: SourceProblem[];
  /** Objects that are in the file twice: the first one counts. These do not break the file. */
  repeated: SourceProblem[];
  /** `apiVersion/kind` of documents that pcnk does not read. */
  ignored: Set<string>;
  /** It has been good at least once. */
  everGood: boolean;
  /** What each document gave, by its hash. */
  pieces: Map<number, PieceResult>;
}

/** Milliseconds after which the agent's other work has its turn: a large file takes seconds. */
const sliceMs = 20;

/** Work in slices of time. */
class Slices {
  #since = performance.now();

  async pause() {
    if (performance.now() - this.#since < sliceMs) return;
    await new Promise((next) => setTimeout(next, 0));
    this.#since = performance.now();
  }
}

/**
 * Reads a file's documents, in slices of time.
 *
 * @param previous what the same file gave before: source of unchanged documents and of the last good state. A file that
 * was never good shows what can be read of it, and loses nothing until it is good.
 * @throws Error when a document is far too large, or the worker fails
 */
export async function readManifest(
  file: string,
  pieces: Iterable<Piece | undefined>,
  worker: PieceWorker,
  previous?: ManifestFile,
): Promise<ManifestFile> {
  const slices = new Slices();
  const result: ManifestFile = {
    entries: new Map(),
    problems: [],
    repeated: [],
    ignored: new Set(),
    everGood: false,
    pieces: new Map(),
  };
  for (const piece of pieces) {
    await slices.pause();
    if (piece === undefined) continue;
    const { bytes, line, hash } = piece;
    const parsed = previous?.pieces.get(hash) ?? result.pieces.get(hash) ??
      (isLarge(bytes)
        ? await parseLarge(bytes, worker, previous, slices)
        : keepEqual(parsePiece(bytes), previous));
    result.pieces.set(hash, parsed);
    for (const { offset, ...problem } of parsed.problems) {
      result.problems.push({ file, line: line + offset, ...problem });
    }
    for (const type of parsed.ignored) result.ignored.add(type);
    for (const object of parsed.objects) add(result, { object, line }, file, previous);
  }
  return withLastGood(result, previous);
}

async function parseLarge(
  bytes: Uint8Array,
  worker: PieceWorker,
  previous: ManifestFile | undefined,
  slices: Slices,
): Promise<PieceResult> {
  const objects: ClusterObject[] = [];
  let last: PieceResult | undefined;
  for await (const part of worker.parse(bytes)) {
    last = keepEqual(part, previous);
    objects.push(...last.objects);
    await slices.pause();
  }
  return { ...last!, objects };
}

/** A file that could not be read at all: its last good state, and why. */
export function unreadableManifest(
  problem: SourceProblem,
  previous?: ManifestFile,
): ManifestFile {
  return {
    entries: previous?.entries ?? new Map(),
    problems: [problem],
    repeated: [],
    ignored: new Set(),
    everGood: previous?.everGood ?? false,
    pieces: previous?.pieces ?? new Map(),
  };
}

/** Objects that are as before stay the very same: what follows compares references, and memory holds one of each. */
function keepEqual(parsed: PieceResult, previous: ManifestFile | undefined): PieceResult {
  if (previous === undefined) return parsed;
  const objects = parsed.objects.map((object) => {
    const old = previous.entries.get(objectTitle(object))?.object;
    return same(object, old) ? old as ClusterObject : object;
  });
  return { ...parsed, objects };
}

function add(into: ManifestFile, entry: ManifestEntry, file: string, previous?: ManifestFile) {
  const title = objectTitle(entry.object);
  const first = into.entries.get(title);
  if (first !== undefined) {
    const reason = `is already in line ${first.line}; this one is ignored`;
    into.repeated.push({ file, line: entry.line, object: title, reason });
    return;
  }
  const old = previous?.entries.get(title);
  const unchanged = old?.object === entry.object && old.line === entry.line;
  into.entries.set(title, unchanged ? old : entry);
}

/** A broken file keeps the entries of its last good state. */
function withLastGood(result: ManifestFile, previous: ManifestFile | undefined): ManifestFile {
  if (result.problems.length === 0) return { ...result, everGood: true };
  if (previous === undefined) return result;
  if (previous.everGood) return { ...result, everGood: true, entries: previous.entries };
  for (const [title, entry] of previous.entries) {
    if (!result.entries.has(title)) result.entries.set(title, entry);
  }
  return result;
}
