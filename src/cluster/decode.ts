/**
 * Kubernetes objects into the model: Service, EndpointSlice, Endpoints, Node, Pod and lists of them. All other
 * kinds come back as ignored.
 */
import type { ClusterObject } from "../model/objects.ts";
import { decodeNode } from "./decode_node.ts";
import { decodePod } from "./decode_pod.ts";
import { decodeService } from "./decode_service.ts";
import { decodeEndpoints, decodeSlice } from "./decode_slice.ts";
import { isOthers } from "./metadata.ts";
import { DecodeError, type Fields, isFields, type Path, show } from "./reader.ts";

/** What became of one object of a document. */
type Decoded =
  | { object: ClusterObject }
  | { ignored: string }
  | { error: DecodeError; title?: string };

type Decoder = (fields: Fields, path: Path) => ClusterObject;

const decoders: Record<string, Decoder> = {
  "v1/Service": decodeService,
  "v1/Node": decodeNode,
  "v1/Endpoints": decodeEndpoints,
  "v1/Pod": decodePod,
  "discovery.k8s.io/v1/EndpointSlice": decodeSlice,
  "discovery.k8s.io/v1beta1/EndpointSlice": decodeSlice,
};

/** Kinds that labels may leave to others. */
const labelled = new Set(["Service", "Endpoints", "EndpointSlice"]);

/** Decodes one document: an object or a list of objects. Never throws; an empty document gives nothing. */
export function decodeDocument(value: unknown): Decoded[] {
  return decodeItem(value, [], new Set());
}

/** @param seen objects that were decoded of the same document */
function decodeItem(value: unknown, path: Path, seen: Set<unknown>, typed?: Fields): Decoded[] {
  if (value === null || value === undefined) return [];
  const object = typed && isFields(value) ? { ...typed, ...value } : value;
  try {
    if (!isFields(object)) throw new DecodeError(path, `must be an object, not ${show(value)}`);
    // Lists of aliases in lists of aliases make millions out of a small file.
    if (seen.has(value)) throw new DecodeError(path, "is an alias of an object before it");
    seen.add(value);
    const { apiVersion, kind } = object;
    if (typeof kind !== "string" || kind === "") {
      throw new DecodeError([...path, "kind"], "is missing");
    }
    if (typeof apiVersion !== "string" || apiVersion === "") {
      // The items of a typed list may leave both out; those of a `List` and lone objects may not.
      throw new DecodeError([...path, "apiVersion"], "is missing");
    }
    const type = `${apiVersion}/${kind}`;
    if (isList(type)) return decodeItems(object, path, seen, type);
    const decoder = decoders[type];
    if (decoder === undefined || labelled.has(kind) && isOthers(object)) return [{ ignored: type }];
    return [{ object: decoder(object, path) }];
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return [{ error, title: title(object) }];
  }
}

/** `v1/List`, and the typed lists that the API answers with: `v1/ServiceList`. */
function isList(type: string): boolean {
  return type === "v1/List" || (type.endsWith("List") && type.slice(0, -4) in decoders);
}

function decodeItems(value: Fields, path: Path, seen: Set<unknown>, type: string): Decoded[] {
  if (path.length > 2) throw new DecodeError(path, "is a list within lists");
  const items = value.items ?? [];
  if (!Array.isArray(items)) {
    throw new DecodeError([...path, "items"], `must be a list, not ${show(items)}`);
  }
  const [apiVersion, kind] = [value.apiVersion, type.split("/").at(-1)!.slice(0, -4)];
  const typed = kind === "" ? undefined : { apiVersion, kind };
  return items.flatMap((item, i) => decodeItem(item, [...path, "items", i], seen, typed));
}

/** How an object that did not decode is named, as far as it says who it is. */
function title(value: unknown): string | undefined {
  if (!isFields(value) || typeof value.kind !== "string") return undefined;
  const metadata = isFields(value.metadata) ? value.metadata : {};
  const parts = [metadata.namespace, metadata.name].filter((part) => typeof part === "string");
  return [value.kind, parts.join("/")].filter((part) => part !== "").join(" ");
}
