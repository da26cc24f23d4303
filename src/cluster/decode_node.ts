/** core/v1 Node. */
import type { Node } from "../model/objects.ts";
import { metadata } from "./metadata.ts";
import { type Fields, fields, ipv4, ipv4Prefix, list, type Path, text } from "./reader.ts";

/** @throws DecodeError with the path of the field that is wrong */
export function decodeNode(object: Fields, path: Path): Node {
  const { name, labels, annotations, createdAt } = metadata(object, path);
  const own = ownAnnotations(annotations, [...path, "metadata", "annotations"]);
  const zone = "topology.kubernetes.io/zone";
  const zoneName = text(labels[zone], [...path, "metadata", "labels", zone]);
  return {
    kind: "Node",
    name,
    internalIPs: internalIPs(object, path),
    podCIDRs: podCIDRs(object, path),
    zone: zoneName,
    annotations: own,
    ...(networkUnavailable(object, path) ? { networkUnavailable: true } : {}),
    createdAt,
  };
}

function networkUnavailable(object: Fields, path: Path): boolean {
  const at = [...path, "status"];
  return list(fields(object.status, at).conditions, [...at, "conditions"]).some((value, i) => {
    const { type, status } = fields(value, [...at, "conditions", i]);
    return type === "NetworkUnavailable" && status === "True";
  });
}

function ownAnnotations(annotations: Fields, at: Path): Record<string, string> | undefined {
  const own = Object.keys(annotations).filter((key) => key.startsWith("pcnk.io/"));
  if (own.length === 0) return undefined;
  return Object.fromEntries(own.map((key) => [key, text(annotations[key], [...at, key]) ?? ""]));
}

function internalIPs(object: Fields, path: Path): string[] {
  const at = [...path, "status"];
  const addresses = list(fields(object.status, at).addresses, [...at, "addresses"]);
  const found: string[] = [];
  addresses.forEach((value, i) => {
    const here = [...at, "addresses", i];
    const { type, address } = fields(value, here);
    if (type !== "InternalIP") return;
    const ip = ipv4(address, [...here, "address"]);
    if (ip !== undefined) found.push(ip);
  });
  return found;
}

/** podCIDRs, or podCIDR where only that is given. */
function podCIDRs(object: Fields, path: Path): string[] {
  const at = [...path, "spec"];
  const spec = fields(object.spec, at);
  const many = list(spec.podCIDRs, [...at, "podCIDRs"]);
  const found: string[] = [];
  const add = (value: unknown, here: Path) => {
    if (value === undefined || value === null || value === "") return;
    const prefix = ipv4Prefix(value, here);
    if (prefix !== undefined) found.push(prefix);
  };
  if (many.length === 0) add(spec.podCIDR, [...at, "podCIDR"]);
  many.forEach((value, i) => add(value, [...at, "podCIDRs", i]));
  return found;
}
