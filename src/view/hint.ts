/** A hint beside a table that is empty or has Services without backends, and the meaning of drops. */
import { nearest } from "../model/nearest.ts";
import type { Observation } from "./monitor.ts";
import type { NodeReader } from "./node.ts";
import type { Filter, Resource, Row } from "./resource.ts";
import { readServices, type ServiceRow } from "./services.ts";

/** One line; undefined: none. */
export function hintOf(
  node: NodeReader,
  resource: Resource,
  rows: readonly Row[],
  filter: Filter,
): string | undefined {
  if (rows.length === 0) return emptyHint(node, resource, filter);
  if (resource.name !== "services" || filter.names.length === 0) return undefined;
  const idle = (rows as ServiceRow[]).find(({ backends }) => backends === 0);
  return idle && whyHint(idle.name, "has no backends");
}

/** The meaning of a drop or rejection, and a next step; undefined: the packet passed. */
export function reasonHint(node: NodeReader, { reason, flow }: Observation): string | undefined {
  const rejected = reason.name.startsWith("rejected_");
  if (!rejected && reason.kind !== "drop") return undefined;
  const text = `${reason.name}: ${reason.help}`;
  if (!rejected || flow === undefined) return text;
  // The observed packet is the reply: its source is the Service.
  const service = readServices(node, { names: [] }).find(({ address, frontendPort }) =>
    address === flow.src && frontendPort === flow.sport
  );
  return service === undefined
    ? text
    : `${text}; pcnk describe service ${service.name} explains it`;
}

/** False when no row has a given name; a Service without backends is known. */
export function isKnown(node: NodeReader, resource: Resource, filter: Filter): boolean {
  if (filter.names.length === 0) return true;
  if (resource.name !== "backends") return resource.read(node, filter).length > 0;
  const named = filter.names.map((name) =>
    name.includes("/") ? name : `${filter.namespace ?? "default"}/${name}`
  );
  return readServices(node, { names: [] }).some(({ name, service }) =>
    named.includes(name) || filter.names.includes(service)
  );
}

function emptyHint(node: NodeReader, resource: Resource, filter: Filter): string {
  const found = `no ${resource.name} found`;
  if (resource.name !== "backends" && resource.name !== "services") {
    const known = resource.read(node, { names: [] }).map(({ name }) => name);
    return withMeant(found, filter.names[0], known);
  }
  const given = filter.names[0] ?? filter.service;
  if (given === undefined) return found;
  const all = readServices(node, { names: [] });
  const key = given.includes("/") ? given : `${filter.namespace ?? "default"}/${given}`;
  const service = all.find(({ name, service }) => name === given || service === given);
  return service === undefined
    ? withMeant(found, key, all.map(({ name }) => name))
    : whyHint(service.name, resource.name === "backends" ? "has none" : "is of another namespace");
}

function withMeant(text: string, given: string | undefined, known: readonly string[]): string {
  const meant = given === undefined ? undefined : nearest(given, known);
  return meant === undefined ? text : `${text}; did you mean ${meant}?`;
}

function whyHint(name: string, fact: string): string {
  return fact === "is of another namespace"
    ? `no services found; ${name} ${fact}`
    : `${name} ${fact}: clients are refused; pcnk describe service ${name} explains it`;
}
