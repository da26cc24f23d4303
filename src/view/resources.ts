/** The kinds of `pcnk get`, by name. */
import { counters, maps } from "./counters.ts";
import { hostPorts } from "./host_ports.ts";
import { endpoints, nodes, routes } from "./network.ts";
import type { Resource } from "./resource.ts";
import { backends, services } from "./services.ts";
import { sessions, snat } from "./sessions.ts";

// deno-lint-ignore no-explicit-any -- each has rows of its own type, which only its own columns read
const all: readonly Resource<any>[] = [
  services,
  backends,
  sessions,
  endpoints,
  hostPorts,
  nodes,
  routes,
  snat,
  counters,
  maps,
];

/** In the order of the help text. */
export const resources: readonly Resource[] = all;

/** The kind that is called so, in any case of letters; undefined: none. */
export function findResource(name: string): Resource | undefined {
  const wanted = name.toLowerCase();
  return resources.find((one) => one.name === wanted || one.aliases.includes(wanted));
}
