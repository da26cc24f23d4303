/**
 * The worker that parses large pieces of manifests (piece_worker.ts): YAML takes a second for two megabytes, and the agent's
 * thread answers health checks meanwhile.
 *
 * In: the bytes of a piece, or nothing for the next part. Out: a part of its PieceResult, or nothing behind the last.
 * Nothing is null: Deno passes undefined on as that (2.6.8).
 */
/// <reference lib="deno.worker" />
import type { ClusterObject } from "../model/objects.ts";
import { parsePiece, type PieceResult } from "./parse.ts";

/** Endpoints and ports in one part: the agent's thread takes some milliseconds to receive them. */
const partSize = 2000;

let parts: Iterator<PieceResult, undefined>;

self.onmessage = ({ data }: MessageEvent<Uint8Array | null>) => {
  if (data !== null) parts = partsOf(parsePiece(data));
  self.postMessage(parts.next().value ?? null);
};

function* partsOf({ objects, ...rest }: PieceResult): Generator<PieceResult, undefined> {
  let part: ClusterObject[] = [], size = 0;
  for (const object of objects) {
    part.push(object);
    size += sizeOf(object);
    if (size < partSize) continue;
    yield { objects: part, ignored: [], problems: [] };
    part = [];
    size = 0;
  }
  yield { ...rest, objects: part };
}

function sizeOf(object: ClusterObject): number {
  switch (object.kind) {
    case "Service":
      return 1 + object.ports.length;
    case "EndpointSlice":
      return 1 + object.endpoints.length + object.ports.length;
    case "Endpoints":
      return object.subsets.reduce((sum, { endpoints }) => sum + endpoints.length, 1);
    default:
      return 1;
  }
}
