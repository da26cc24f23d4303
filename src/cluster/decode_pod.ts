/** core/v1 Pod: only what makes it a backend of some weight. */
import type { Pod } from "../model/objects.ts";
import { metadata, weight } from "./metadata.ts";
import { type Fields, fields, ipv4, list, type Path } from "./reader.ts";

/** @throws DecodeError with the path of the field that is wrong */
export function decodePod(object: Fields, path: Path): Pod {
  const { namespace, name, annotations, labels } = metadata(object, path);
  return {
    kind: "Pod",
    namespace,
    name,
    podIPs: podIPs(object, path),
    ...weight(annotations, path, labels),
  };
}

/** podIPs, or podIP where only that is given; IPv6 ones are left out. */
function podIPs(object: Fields, path: Path): string[] {
  const at = [...path, "status"];
  const status = fields(object.status, at);
  const many = list(status.podIPs, [...at, "podIPs"]);
  const found: string[] = [];
  const add = (value: unknown, here: Path) => {
    if (value === undefined || value === null || value === "") return;
    const ip = ipv4(value, here);
    if (ip !== undefined) found.push(ip);
  };
  if (many.length === 0) add(status.podIP, [...at, "podIP"]);
  many.forEach((value, i) => {
    const here = [...at, "podIPs", i];
    add(fields(value, here).ip, [...here, "ip"]);
  });
  return found;
}
