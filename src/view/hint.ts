/** A word beside a table, for a person: when it is empty, or shows Services that serve nobody. */
import { nearest } from "../model/nearest.ts";
import type { Observation } from "./monitor.ts";
import type { NodeReader } from "./node.ts";
import type { Filter, Resource, Row } from "./resource.ts";
import { readServices, type ServiceRow } from "./services.ts";

/** One line, or undefined when the table says it all. */
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

/** What a drop or refusal means, and where to read on; undefined: the packet went its way. */
export function reasonHint(node: NodeReader, { reason, flow }: Observation): string | undefined {
  const refused = reason.name.startsWith("rejected_");
  if (!refused && reason.kind !== "drop") return undefined;
  const text = `${reason.name}: ${reason.help}`;
  if (!refused || flow === undefined) return text;
  // What is seen is the answer: it comes from the Service's address.
  const service = readServices(node, { names: [] }).find(({ address, frontendPort }) =>
    address === flow.src && frontendPort === flow.sport
  );
  return service === undefined ? text : `${text}; pcnk describe service ${service.name} says why`;
}

/** False when something was asked for by a name that nothing has; a Service without backends is known all the same. */
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
  const asked = filter.names[0] ?? filter.service;
  if (asked === undefined) return found;
  const all = readServices(node, { names: [] });
  const key = asked.includes("/") ? asked : `${filter.namespace ?? "default"}/${asked}`;
  const service = all.find(({ name, service }) => name === asked || service === asked);
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
    : `${name} ${fact}: clients are refused; pcnk describe service ${name} says why`;
}
