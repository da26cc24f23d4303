/** core/v1 Service. */
import type { Service, ServicePort } from "../model/objects.ts";
import { decodeExternal } from "./decode_external.ts";
import { lbAlgorithm, metadata, weight } from "./metadata.ts";
import { DecodeError, type Fields, fields, flag, integer, ipv4, list } from "./reader.ts";
import { oneOf, type Path, show, text } from "./reader.ts";

const types = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] as const;
const protocols = ["TCP", "UDP", "SCTP"] as const;

/** The API has no bound; each port is worked out with each endpoint, while nothing else is done. */
const maxPorts = 4096;

/** @throws DecodeError with the path of the field that is wrong */
export function decodeService(object: Fields, path: Path): Service {
  const meta = metadata(object, path);
  const at = [...path, "spec"];
  const spec = fields(object.spec, at);
  const addresses = clusterIPs(spec, at);
  const service: Service = {
    kind: "Service",
    namespace: meta.namespace,
    name: meta.name,
    type: oneOf(spec.type, [...at, "type"], types, "ClusterIP"),
    clusterIPs: addresses.filter((address) => address !== "None"),
    headless: addresses.includes("None"),
    ports: decodePorts(spec, at),
    ...selector(spec, at),
    publishNotReadyAddresses: flag(
      spec.publishNotReadyAddresses,
      [...at, "publishNotReadyAddresses"],
      false,
    ),
    internalTrafficPolicy: oneOf(
      spec.internalTrafficPolicy,
      [...at, "internalTrafficPolicy"],
      ["Cluster", "Local"],
      "Cluster",
    ),
    affinitySeconds: affinity(spec, at),
    ...weight(meta.annotations, path),
    ...decodeExternal(object, path),
    ...trafficDistribution(spec, at),
    ...lbAlgorithm(meta.annotations, path),
  };
  if (meta.createdAt !== undefined) service.createdAt = meta.createdAt;
  return service;
}

/** As kubectl's -l takes it. */
function selector(spec: Fields, at: Path): { selector?: string } {
  const labels = Object.entries(fields(spec.selector, [...at, "selector"]));
  return labels.length === 0
    ? {}
    : { selector: labels.map(([key, value]) => `${key}=${value}`).join() };
}

/** clusterIPs, or clusterIP where only that is given; IPv6 ones are left out. */
function clusterIPs(spec: Fields, at: Path): string[] {
  const many = list(spec.clusterIPs, [...at, "clusterIPs"]);
  const [values, key] = many.length > 0
    ? [many, "clusterIPs"] as const
    : [[spec.clusterIP], "clusterIP"] as const;
  const found: string[] = [];
  values.forEach((value, i) => {
    if (value === undefined || value === null || value === "") return;
    const address = value === "None"
      ? value
      : ipv4(value, key === "clusterIP" ? [...at, key] : [...at, key, i]);
    if (address !== undefined) found.push(address);
  });
  return found;
}

function decodePorts(spec: Fields, at: Path): ServicePort[] {
  const seen = new Set<string>();
  return list(spec.ports, [...at, "ports"], maxPorts).map((value, i) => {
    const here = [...at, "ports", i];
    const given = fields(value, here);
    const port: ServicePort = {
      name: text(given.name, [...here, "name"]) ?? "",
      protocol: oneOf(given.protocol, [...here, "protocol"], protocols, "TCP"),
      port: integer(given.port, [...here, "port"], 1, 65535),
      targetPort: targetPort(given, here),
    };
    // The API writes 0 for none.
    if ((given.nodePort ?? 0) !== 0) {
      port.nodePort = integer(given.nodePort, [...here, "nodePort"], 1, 65535);
    }
    for (const [what, id] of [["port", `${port.port}/${port.protocol}`], ["name", port.name]]) {
      const key = `${what} ${id}`;
      if (seen.has(key)) {
        throw new DecodeError(here, `${what} ${show(id)} is there twice`);
      }
      seen.add(key);
    }
    return port;
  });
}

function targetPort(given: Fields, here: Path): number | string {
  const target = given.targetPort ?? given.port;
  const at = [...here, "targetPort"];
  return typeof target === "string" ? text(target, at) ?? "" : integer(target, at, 1, 65535);
}

/** sessionAffinity ClientIP's timeout: 1 to 86400 seconds, by default three hours. */
function affinity(spec: Fields, at: Path): number {
  const kind = oneOf(
    spec.sessionAffinity,
    [...at, "sessionAffinity"],
    ["None", "ClientIP"],
    "None",
  );
  if (kind === "None") return 0;
  let here = [...at, "sessionAffinityConfig"];
  const config = fields(spec.sessionAffinityConfig, here);
  const client = fields(config.clientIP, here = [...here, "clientIP"]);
  return integer(client.timeoutSeconds ?? 10800, [...here, "timeoutSeconds"], 1, 86400);
}

/** Values that are not known (yet) mean no preference, as in kube-proxy. */
function trafficDistribution(spec: Fields, at: Path): Pick<Service, "trafficDistribution"> {
  const given = text(spec.trafficDistribution, [...at, "trafficDistribution"]);
  if (given === "PreferSameNode") return { trafficDistribution: given };
  const zone = given === "PreferClose" || given === "PreferSameZone";
  return zone ? { trafficDistribution: "PreferSameZone" } : {};
}
