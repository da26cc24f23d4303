/** ObjectMeta, as far as pcnk reads it. */
import {
  DecodeError,
  type Fields,
  fields,
  integer,
  isFields,
  objectName,
  type Path,
} from "./reader.ts";
import type { LbAlgorithm } from "../model/objects.ts";
import { oneOf, show, text } from "./reader.ts";

/**
 * Labels that say, whatever their value, that kube-proxy leaves a Service, its Endpoints or a slice alone: another proxy serves
 * it, or it is headless although it has addresses.
 */
export const othersLabels = [
  "service.kubernetes.io/service-proxy-name",
  "service.kubernetes.io/headless",
] as const;

/** Whether an object is left to others by one of `othersLabels`. */
export function isOthers(object: Fields): boolean {
  const labels = isFields(object.metadata) ? object.metadata.labels : undefined;
  return isFields(labels) && othersLabels.some((label) => Object.hasOwn(labels, label));
}

interface Metadata {
  name: string;
  /** `default` when absent. */
  namespace: string;
  createdAt?: number;
  labels: Fields;
  annotations: Fields;
}

/** Reads `metadata` of `object`, which lies at `path`. */
export function metadata(object: Fields, path: Path): Metadata {
  const at = [...path, "metadata"];
  const given = fields(object.metadata, at);
  const namespace = given.namespace ?? "default";
  const created = text(given.creationTimestamp, [...at, "creationTimestamp"]);
  const createdAt = created === undefined ? undefined : Date.parse(created);
  if (Number.isNaN(createdAt)) {
    throw new DecodeError([...at, "creationTimestamp"], `${show(created)} is not a time`);
  }
  return {
    name: objectName(given.name, [...at, "name"]),
    namespace: objectName(namespace, [...at, "namespace"]),
    createdAt,
    labels: fields(given.labels, [...at, "labels"]),
    annotations: fields(given.annotations, [...at, "annotations"]),
  };
}

const algorithms: readonly LbAlgorithm[] = ["random", "maglev"];
const algorithmAnnotation = "pcnk.io/lb-algorithm";

/** The annotation `pcnk.io/lb-algorithm`: random or maglev. */
export function lbAlgorithm(annotations: Fields, path: Path): { lbAlgorithm?: LbAlgorithm } {
  const given = annotations[algorithmAnnotation];
  if (given === undefined || given === null) return {};
  const at = [...path, "metadata", "annotations", algorithmAnnotation];
  return { lbAlgorithm: oneOf(given, at, algorithms, "random") };
}

const weightAnnotation = "pcnk.io/weight";

/**
 * The annotation `pcnk.io/weight`: a whole number from 1 to 10000. Without it the label of that name, where `labels` are
 * given.
 */
export function weight(
  annotations: Fields,
  path: Path,
  labels: Fields = {},
): { weight?: number } {
  const where = (annotations[weightAnnotation] ?? null) === null ? "labels" : "annotations";
  const given = { annotations, labels }[where][weightAnnotation];
  if (given === undefined || given === null) return {};
  // Annotations are strings, but a number written without quotes is no reason to quarrel.
  const number = typeof given === "string" && /^\d+$/.test(given) ? Number(given) : given;
  return {
    weight: integer(number, [...path, "metadata", where, weightAnnotation], 1, 10000),
  };
}
