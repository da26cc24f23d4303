/** discovery.k8s.io EndpointSlice, v1 and v1beta1, and core/v1 Endpoints. */
import type { Endpoint, EndpointPort, Endpoints, EndpointSlice } from "../model/objects.ts";
import { metadata, weight } from "./metadata.ts";
import { backendIpv4, DecodeError, type Fields, fields, flag, integer, list } from "./reader.ts";
import { oneOf, type Path, text } from "./reader.ts";

const protocols = ["TCP", "UDP", "SCTP"] as const;
/** Of a slice: the API's own bound. */
const maxEndpoints = 1000;
/** Of an object, where the API has no bound (Endpoints), or a hundred for each endpoint of a slice. */
const maxAddresses = 16384;
/** As decode_service.ts; the API takes 20,000. */
const maxPorts = 4096;

/** @throws DecodeError with the path of the field that is wrong */
export function decodeSlice(object: Fields, path: Path): EndpointSlice {
  const meta = metadata(object, path);
  const addressType = text(object.addressType, [...path, "addressType"]) ?? "";
  if (addressType === "") throw new DecodeError([...path, "addressType"], "is missing");
  const slice: EndpointSlice = {
    kind: "EndpointSlice",
    namespace: meta.namespace,
    name: meta.name,
    addressType,
    ports: decodePorts(object.ports, [...path, "ports"]),
    // v1beta1 once had addressType "IP" for both families.
    endpoints: addressType === "IPv4" || addressType === "IP"
      ? sliceEndpoints(object.endpoints, [...path, "endpoints"])
      : [],
    ...weight(meta.annotations, path),
  };
  const label = "kubernetes.io/service-name";
  const serviceName = text(meta.labels[label], [...path, "metadata", "labels", label]);
  if (serviceName !== undefined && serviceName !== "") slice.serviceName = serviceName;
  return slice;
}

/** A port without a number means "all ports" and serves no Service; it is left out, as in kube-proxy. */
function decodePorts(value: unknown, at: Path): EndpointPort[] {
  const ports: EndpointPort[] = [];
  list(value, at, maxPorts).forEach((item, i) => {
    const here = [...at, i];
    const given = fields(item, here);
    if (given.port === undefined || given.port === null) return;
    ports.push({
      name: text(given.name, [...here, "name"]) ?? "",
      protocol: oneOf(given.protocol, [...here, "protocol"], protocols, "TCP"),
      port: integer(given.port, [...here, "port"], 1, 65535),
    });
  });
  return ports;
}

function sliceEndpoints(value: unknown, at: Path): Endpoint[] {
  const endpoints: Endpoint[] = [];
  list(value, at, maxEndpoints).forEach((item, i) => {
    const here = [...at, i];
    const given = fields(item, here);
    const common = sliceEndpoint(given, here);
    // The API calls the addresses of one endpoint fungible; a manifest that lists several means them all.
    const addresses = list(given.addresses, [...here, "addresses"], 100);
    if (addresses.length === 0) throw new DecodeError([...here, "addresses"], "is missing");
    addresses.forEach((address, j) => {
      const ip = backendIpv4(address, [...here, "addresses", j]);
      if (ip !== undefined) endpoints.push({ address: ip, ...common });
    });
    checkTotal(endpoints.length, at);
  });
  return endpoints;
}

/** Absent conditions mean: ready, serving as ready, not terminating (EndpointConditions in the API). */
function sliceEndpoint(given: Fields, here: Path): Omit<Endpoint, "address"> {
  const at = [...here, "conditions"];
  const conditions = fields(given.conditions, at);
  const ready = flag(conditions.ready, [...at, "ready"], true);
  const endpoint: Omit<Endpoint, "address"> = {
    ready,
    serving: flag(conditions.serving, [...at, "serving"], ready),
    terminating: flag(conditions.terminating, [...at, "terminating"], false),
  };
  // v1beta1 kept both in a map of labels.
  const topology = fields(given.topology ?? given.deprecatedTopology, [...here, "topology"]);
  const nodeName = text(given.nodeName, [...here, "nodeName"]) ??
    text(topology["kubernetes.io/hostname"], [...here, "topology"]);
  const zone = text(given.zone, [...here, "zone"]) ??
    text(topology["topology.kubernetes.io/zone"], [...here, "topology"]);
  if (nodeName !== undefined) endpoint.nodeName = nodeName;
  if (zone !== undefined) endpoint.zone = zone;
  const zones = hints(given, here, "forZones");
  if (zones.length > 0) endpoint.forZones = zones;
  const nodes = hints(given, here, "forNodes");
  if (nodes.length > 0) endpoint.forNodes = nodes;
  const pod = targetPod(given, here);
  if (pod !== undefined) endpoint.pod = pod;
  return endpoint;
}

/** Names in one of the lists of `hints`. */
function hints(given: Fields, here: Path, key: "forZones" | "forNodes"): string[] {
  if (given.hints === undefined || given.hints === null) return [];
  const at = [...here, "hints", key];
  return list(fields(given.hints, at.slice(0, -1))[key], at).map((item, i) =>
    text(fields(item, [...at, i]).name, [...at, i, "name"]) ?? ""
  );
}

function targetPod(given: Fields, here: Path): string | undefined {
  if (given.targetRef === undefined || given.targetRef === null) return undefined;
  const at = [...here, "targetRef"];
  const target = fields(given.targetRef, at);
  return target.kind === "Pod" ? text(target.name, [...at, "name"]) : undefined;
}

/** @throws DecodeError with the path of the field that is wrong */
export function decodeEndpoints(object: Fields, path: Path): Endpoints {
  const { namespace, name } = metadata(object, path);
  let total = 0;
  const subsets = list(object.subsets, [...path, "subsets"]).map((value, i) => {
    const at = [...path, "subsets", i];
    const subset = fields(value, at);
    const endpoints = [
      ...subsetAddresses(subset.addresses, [...at, "addresses"], true),
      ...subsetAddresses(subset.notReadyAddresses, [...at, "notReadyAddresses"], false),
    ];
    checkTotal(total += endpoints.length, at);
    return { ports: decodePorts(subset.ports, [...at, "ports"]), endpoints };
  });
  return { kind: "Endpoints", namespace, name, subsets };
}

function subsetAddresses(value: unknown, at: Path, ready: boolean): Endpoint[] {
  const endpoints: Endpoint[] = [];
  list(value, at, maxAddresses).forEach((item, i) => {
    const here = [...at, i];
    const given = fields(item, here);
    const address = backendIpv4(given.ip, [...here, "ip"]);
    if (address === undefined) return;
    const nodeName = text(given.nodeName, [...here, "nodeName"]);
    const pod = targetPod(given, here);
    endpoints.push({
      address,
      ready,
      serving: ready,
      terminating: false,
      nodeName,
      pod,
    });
  });
  return endpoints;
}

function checkTotal(addresses: number, at: Path): void {
  if (addresses <= maxAddresses) return;
  throw new DecodeError(
    at,
    `the object has more than ${maxAddresses} addresses: use several slices`,
  );
}
