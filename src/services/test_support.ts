/** Makers of objects for the tests of this folder. */
import { type Backend, type BackendKey, type FrontendKey, frontendKey } from "../model/frontend.ts";
import type { Endpoint, EndpointSlice, Node, Pod, Service } from "../model/objects.ts";
import type { Change } from "../model/state.ts";
import { finished } from "../model/steps.ts";
import { addressValue } from "../net/address.ts";
import { splitHostPort } from "../net/host_port.ts";
import type { DesiredState } from "./desired.ts";
import type { ServiceFrontends } from "./frontends.ts";
import type { IdRegister } from "./ids.ts";
import type { KernelState } from "./kernel.ts";
import { Planner, type Removed } from "./plan.ts";

/** A sync with its Services in a list. */
export function syncGroups(desired: DesiredState, all = false) {
  const groups: ServiceFrontends[] = [];
  return { groups, ...finished(desired.sync(all, (group) => groups.push(group))) };
}

export interface PlanInput {
  groups: readonly ServiceFrontends[];
  removed: Removed;
}

export function plan(input: PlanInput, kernel: KernelState, ids: IdRegister, now: number) {
  const planner = new Planner(kernel, ids, now);
  for (const group of input.groups) planner.add(group);
  return finished(planner.finish(input.removed));
}

export function service(name: string, rest: Partial<Service> = {}): Service {
  return {
    kind: "Service",
    namespace: "default",
    name,
    type: "ClusterIP",
    clusterIPs: ["10.96.0.1"],
    headless: false,
    ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 8080 }],
    publishNotReadyAddresses: false,
    internalTrafficPolicy: "Cluster",
    affinitySeconds: 0,
    ...rest,
  };
}

/**
 * `10.1.0.1` is ready; `10.1.0.1 terminating serving`, `10.1.0.1 notready`, `10.1.0.1 @node2` are not, or elsewhere.
 * `in:a` is its zone, `zone:a,b` and `node:node1` are hints, `pod:web-0` is its Pod.
 */
function endpoint(text: string): Endpoint {
  const [address = "", ...words] = text.split(" ");
  const ready = !words.includes("terminating") && !words.includes("notready");
  const nodeName = words.find((word) => word.startsWith("@"))?.slice(1);
  const value = (key: string) =>
    words.find((word) => word.startsWith(`${key}:`))?.slice(key.length + 1);
  const [zone, pod] = [value("in"), value("pod")];
  const [forZones, forNodes] = [value("zone")?.split(","), value("node")?.split(",")];
  return {
    address,
    ready,
    serving: ready || words.includes("serving"),
    terminating: words.includes("terminating"),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...(forZones === undefined ? {} : { forZones }),
    ...(forNodes === undefined ? {} : { forNodes }),
    ...(pod === undefined ? {} : { pod }),
  };
}

export function node(name: string, rest: Partial<Node> = {}): Node {
  return { kind: "Node", name, internalIPs: [], podCIDRs: [], ...rest };
}

export function pod(name: string, rest: Partial<Pod> = {}): Pod {
  return { kind: "Pod", namespace: "default", name, podIPs: [], ...rest };
}

export function slice(
  serviceName: string,
  endpoints: string[],
  rest: Partial<EndpointSlice> = {},
): EndpointSlice {
  return {
    kind: "EndpointSlice",
    namespace: "default",
    name: `${serviceName}-1`,
    serviceName,
    addressType: "IPv4",
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
    endpoints: endpoints.map(endpoint),
    ...rest,
  };
}

export const upsert = (object: Change["object"]): Change => ({ type: "upsert", object });
export const remove = (object: Change["object"]): Change => ({ type: "delete", object });

/** `10.1.0.1:8080`, with `*3` for a weight and `!` for a terminating one. */
export function backends(...texts: string[]): Backend[] {
  return texts.map((text) => {
    const [, addr, port, weight, terminating] = /^([\d.]+):(\d+)(?:\*(\d+))?(!?)$/.exec(text)!;
    return {
      addr: addr!,
      ...backendKey(`${addr}:${port}`),

      weight: Number(weight ?? 1),
      terminating: terminating === "!",
    };
  });
}

/** The key of `10.1.0.1:8080`. */
export function backendKey(text: string): BackendKey {
  const { address, port } = splitHostPort(text);
  return { value: addressValue(address), port };
}

/** The key with a text like `10.96.0.1:80/6/0`. */
export function keyOf(text: string): FrontendKey {
  const [, addr, ...numbers] = /^([\d.]+):(\d+)\/(\d+)\/(\d)$/.exec(text)!;
  const [port, proto, scope] = numbers.map(Number);
  return frontendKey(addr!, port!, proto!, scope!);
}

/** The inverse of `backends()`. */
export function show(list: readonly Backend[]): string[] {
  return list.map(({ addr, port, weight, terminating }) =>
    `${addr}:${port}${weight === 1 ? "" : `*${weight}`}${terminating ? "!" : ""}`
  );
}

/** Reproducible random numbers (mulberry32): `random()` from 0 to 1, `below(n)` whole ones. */
export function generator(seed: number) {
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number) => Math.floor(random() * n);
  const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;
  return { random, below, pick };
}
