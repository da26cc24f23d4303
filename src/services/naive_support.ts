/**
 * For tests: what the maps should hold, worked out in the plainest way from the words of the API and the KEPs. It shares
 * nothing with what it is compared with but the model of the objects, and what fills a Maglev table.
 */
import type { Endpoint, EndpointSlice, Service, ServicePort } from "../model/objects.ts";
import type { ClusterState } from "../model/state.ts";
import { maglevTable } from "./maglev.ts";
import type { Contents } from "./sim_support.ts";

interface NaiveMaps {
  /** By key: `totalWeight affinity flags, backend, …`. */
  contents: Map<string, Contents>;
  /** By key: the prefixes of clients it is for; undefined: all. */
  ranges: Map<string, string[] | undefined>;
  /** By port: `service endpoints`. */
  health: Map<number, string>;
}

/** Positions of a Maglev table. */
export const tableSize = 31;

const proto = { TCP: 6, UDP: 17, SCTP: 132 };

const keyOf = ({ namespace, name }: Service) => `${namespace}/${name}`;

export function naiveMaps(state: ClusterState, nodeName: string): NaiveMaps {
  const maps: NaiveMaps = { contents: new Map(), ranges: new Map(), health: new Map() };
  const services = [...state.services.values()]
    .filter(({ type, headless }) => type !== "ExternalName" && !headless)
    .sort((a, b) => {
      const [one, other] = [a.createdAt ?? Infinity, b.createdAt ?? Infinity];
      return one === other ? (keyOf(a) < keyOf(b) ? -1 : 1) : one - other;
    });
  // First come, first served.
  const owner = new Map<string, string>();
  const claim = (what: string, service: Service) => {
    if (!owner.has(what)) owner.set(what, keyOf(service));
  };
  for (const service of services) {
    for (const address of service.clusterIPs) claim(address, service);
    for (const port of service.ports) {
      if (port.protocol === "SCTP") continue;
      for (const address of externals(service)) {
        claim(`${address}:${port.port}/${port.protocol}`, service);
      }
      if (nodePortOf(service, port)) claim(`node:${port.nodePort}/${port.protocol}`, service);
    }
    if (healthOf(service)) claim(`node:${service.healthCheckNodePort}/TCP`, service);
  }
  const nodes = [...state.nodes.values()];
  const ofNode = (address: string) =>
    nodes.some(({ internalIPs, podCIDRs }) =>
      internalIPs.includes(address) || podCIDRs.some((prefix) => isWithin(address, prefix))
    );
  for (const service of services) {
    const mine = (what: string) => owner.get(what) === keyOf(service);
    const free = (what: string) => !owner.has(what) || mine(what);
    for (const address of service.clusterIPs) {
      if (mine(address) && !ofNode(address)) put(maps, `${address}:0/0/0`, "0 0 1");
    }
    for (const port of service.ports) {
      if (port.protocol === "SCTP") continue;
      const at = `${port.port}/${proto[port.protocol]}`;
      const all = endpointsOf(state, service, port);
      const inside = entryFor(state, service, all, service.internalTrafficPolicy, nodeName);
      const short = entryFor(state, service, all, "Cluster", nodeName);
      const policy = service.externalTrafficPolicy ?? "Cluster";
      const outside = entryFor(state, service, all, policy, nodeName);
      for (const address of service.clusterIPs) {
        if (mine(address) && !ofNode(address)) put(maps, `${address}:${at}/0`, inside);
      }
      for (const address of externals(service)) {
        if (
          ofNode(address) || !free(address) || !mine(`${address}:${port.port}/${port.protocol}`)
        ) continue;
        const limited = service.type === "LoadBalancer" &&
          service.loadBalancerIPs?.includes(address) &&
          service.sourceRanges !== undefined && !service.sourceRanges.includes("0.0.0.0/0");
        const ranges = limited ? [...service.sourceRanges!].sort() : undefined;
        if (!service.clusterIPs.includes(address)) put(maps, `${address}:${at}/0`, short, ranges);
        put(maps, `${address}:${at}/1`, outside, ranges);
      }
      if (nodePortOf(service, port) && mine(`node:${port.nodePort}/${port.protocol}`)) {
        const key = `0.0.0.0:${port.nodePort}/${proto[port.protocol]}`;
        // The first of the Service's ports has it.
        if (maps.contents.has(`${key}/0`)) continue;
        put(maps, `${key}/0`, short);
        put(maps, `${key}/1`, outside);
      }
    }
    const check = service.healthCheckNodePort;
    const clash = service.ports.some((port) =>
      nodePortOf(service, port) && port.nodePort === check && port.protocol === "TCP"
    );
    if (check !== undefined && healthOf(service) && mine(`node:${check}/TCP`) && !clash) {
      maps.health.set(check, `${service.name} ${readyHere(state, service, nodeName)}`);
    }
  }
  return maps;
}

/** Both as bits. */
function isWithin(address: string, prefix: string): boolean {
  const [network = "", length = "0"] = prefix.split("/");
  const bits = (text: string) =>
    text.split(".").map((octet) => Number(octet).toString(2).padStart(8, "0")).join("");
  return prefix.includes("/") && bits(address).startsWith(bits(network).slice(0, Number(length)));
}

function put(maps: NaiveMaps, key: string, contents: Contents, ranges?: string[]) {
  const [head = "", ...list] = contents.split(", ");
  const [weight, affinity, flags] = head.split(" ");
  const all = Number(flags) + (ranges === undefined ? 0 : 2);
  maps.contents.set(key, [`${weight} ${affinity} ${all}`, ...list].join(", "));
  maps.ranges.set(key, ranges);
}

function externals(service: Service): Set<string> {
  const balancers = service.type === "LoadBalancer" ? service.loadBalancerIPs ?? [] : [];
  return new Set([...service.externalIPs ?? [], ...balancers]);
}

function nodePortOf({ type }: Service, port: ServicePort): boolean {
  return (type === "NodePort" || type === "LoadBalancer") && port.nodePort !== undefined;
}

function healthOf(service: Service): boolean {
  return service.type === "LoadBalancer" && service.externalTrafficPolicy === "Local" &&
    service.healthCheckNodePort !== undefined;
}

interface NaiveEndpoint extends Endpoint {
  port: number;
  weight: number;
}

function groupsOf(
  state: ClusterState,
  service: Service,
): Pick<EndpointSlice, "ports" | "endpoints" | "weight">[] {
  const slices = state.slices.get(keyOf(service));
  return slices ? [...slices.values()] : state.endpoints.get(keyOf(service))?.subsets ?? [];
}

function endpointsOf(state: ClusterState, service: Service, port: ServicePort): NaiveEndpoint[] {
  const found: NaiveEndpoint[] = [];
  for (const group of groupsOf(state, service)) {
    for (const { name, protocol, port: number } of group.ports) {
      if (name !== port.name || protocol !== port.protocol) continue;
      for (const endpoint of group.endpoints) {
        const pod = endpoint.pod === undefined
          ? [...state.pods.values()].findLast(({ podIPs }) => podIPs.includes(endpoint.address))
          : state.pods.get(`${service.namespace}/${endpoint.pod}`);
        const weight = pod?.weight ?? group.weight ?? service.weight ?? 1;
        found.push({ ...endpoint, port: number, weight });
      }
    }
  }
  return found;
}

function readyHere(state: ClusterState, service: Service, nodeName: string): number {
  const found = groupsOf(state, service).filter(({ ports }) => ports.length > 0)
    .flatMap(({ endpoints }) => endpoints)
    .filter((one) => one.nodeName === nodeName && readyOf(service, one));
  return new Set(found.map(({ address }) => address)).size;
}

const readyOf = (service: Service, { ready }: Endpoint) =>
  ready || service.publishNotReadyAddresses;
const fallbackOf = (service: Service, endpoint: Endpoint) =>
  !readyOf(service, endpoint) && endpoint.serving && endpoint.terminating;

function entryFor(
  state: ClusterState,
  service: Service,
  all: NaiveEndpoint[],
  policy: "Cluster" | "Local",
  nodeName: string,
): Contents {
  const usable = all.some((one) => readyOf(service, one) || fallbackOf(service, one));
  const local = policy === "Local";
  const candidates = local ? all.filter((one) => one.nodeName === nodeName) : all;
  let taken = candidates.filter((one) => readyOf(service, one));
  if (!local) taken = hinted(state, service, taken, nodeName);
  if (taken.length === 0) taken = candidates.filter((one) => fallbackOf(service, one));
  const list = dedupe(taken);
  const flags = local && usable ? 4 : 0;
  if (service.lbAlgorithm !== "maglev" || list.length === 0) {
    return format(list, service.affinitySeconds, flags);
  }
  const table = maglevTable(
    list.map((one) => ({ ...one, addr: one.address })),
    tableSize,
  );
  return `${format(list, service.affinitySeconds, flags + 8)}, table ${table.join(" ")}`;
}

function hinted(
  state: ClusterState,
  service: Service,
  ready: NaiveEndpoint[],
  nodeName: string,
): NaiveEndpoint[] {
  const { trafficDistribution } = service;
  const written = ready.some(({ forZones, forNodes }) => forZones || forNodes);
  const zones = (one: Endpoint) =>
    written ? one.forZones : trafficDistribution && one.zone ? [one.zone] : undefined;
  const nodes = (one: Endpoint) =>
    written
      ? one.forNodes
      : trafficDistribution === "PreferSameNode" && one.nodeName
      ? [one.nodeName]
      : undefined;
  const onNode = ready.filter((one) => nodes(one)?.includes(nodeName));
  if (ready.every((one) => nodes(one)) && onNode.length > 0) return onNode;
  const zone = state.nodes.get(nodeName)?.zone;
  const inZone = ready.filter((one) => zone !== undefined && zones(one)?.includes(zone));
  if (ready.every((one) => zones(one)) && inZone.length > 0) return inZone;
  return ready;
}

function dedupe(list: NaiveEndpoint[]): NaiveEndpoint[] {
  const best = new Map<string, NaiveEndpoint>();
  for (const one of list) {
    const key = `${one.address}:${one.port}`;
    const found = best.get(key);
    const better = found === undefined || (found.terminating && !one.terminating) ||
      (found.terminating === one.terminating && one.weight > found.weight);
    if (better) best.set(key, one);
  }
  const order = ({ address, port }: NaiveEndpoint) =>
    [...address.split("."), port].map((part) => String(part).padStart(5, "0")).join();
  return [...best.values()].sort((a, b) => order(a) < order(b) ? -1 : 1);
}

function format(list: NaiveEndpoint[], affinity: number, flags: number): Contents {
  const weighted = new Set(list.map(({ weight }) => weight)).size > 1;
  let sum = 0;
  const backends = list.map(({ address, port, weight, terminating }) =>
    `${address}:${port} ${weighted ? sum += weight : 0} ${terminating ? 1 : 0}`
  );
  return [`${sum} ${affinity} ${flags}`, ...backends].join(", ");
}
