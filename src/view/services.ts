/** `services` and `backends`: what the kernel sends where. */
import { BACKEND_FLAG, SCOPE, type Service, SERVICE_FLAG } from "../bpf/layout.ts";
import type { Finding } from "./finding.ts";
import { formatPort, type PortName, protocolName } from "./names.ts";
import { parsePortName } from "./names.ts";
import type { NodeReader } from "./node.ts";
import { type Filter, isNamed, type Resource, type Row, sortBy } from "./resource.ts";

/** An entry of the `services` map: an address and port that clients use. */
export interface ServiceRow extends Row, PortName {
  /** "*": every address of the node (a NodePort). */
  address: string;
  /** What clients send to; of a NodePort not the Service's port. */
  frontendPort: number;
  /** Where clients are: inside the cluster (pods, the node's processes), outside, or both alike. */
  from: "inside" | "outside" | "anywhere";
  backends: number;
  /** 0: none. */
  affinitySeconds: number;
  algorithm: "random" | "weighted" | "maglev";
  /** Without a backend it drops what comes instead of refusing it: a traffic policy Local. */
  localOnly: boolean;
  /** Empty: for all clients. */
  sourceRanges: string[];
  id: number;
}

/** A backend of a Service's port. */
export interface BackendRow extends Row, PortName {
  address: string;
  backendPort: number;
  weight: number;
  terminating: boolean;
  /** `namespace/name` of a pod of this node. */
  pod?: string;
  /** The node it is on, if the map `remotes` has it. */
  node?: string;
  /** From where the Service sends to it. */
  from: ServiceRow["from"];
}

/** Every entry but those of an address alone; inside and outside joined where their backends are the same. */
export function readServices(node: NodeReader, filter: Filter): ServiceRow[] {
  const ranges = sourceRanges(node);
  const rows = new Map<string, ServiceRow>();
  for (const [key, entry] of node.maps.services.entries()) {
    if (entry.flags & SERVICE_FLAG.ADDRESS) continue;
    const port = parsePortName(node.portName(entry.id));
    if (!isWanted(filter, port)) continue;
    const from = key.scope === SCOPE.CLUSTER ? "inside" : "outside";
    const row: ServiceRow = {
      name: `${port.namespace}/${port.service}`,
      ...port,
      protocol: protocolName(key.proto),
      address: key.addr === "0.0.0.0" ? "*" : key.addr,
      frontendPort: key.port,
      from,
      backends: entry.count,
      affinitySeconds: entry.affinity_seconds,
      algorithm: algorithmOf(entry),
      localOnly: (entry.flags & SERVICE_FLAG.LOCAL_ONLY) !== 0,
      sourceRanges: entry.flags & SERVICE_FLAG.SOURCE_RANGES ? ranges.get(entry.id) ?? [] : [],
      id: entry.id,
    };
    const { address, frontendPort, protocol, localOnly } = row;
    const same = [address, frontendPort, protocol, entry.first, entry.count, localOnly].join();
    const other = rows.get(same);
    if (other === undefined) rows.set(same, row);
    else if (other.from !== from) other.from = "anywhere";
  }
  return sortServices([...rows.values()]);
}

function sortServices(rows: ServiceRow[]): ServiceRow[] {
  // The ClusterIP before what is open to the outside, NodePorts last.
  const rank = ({ from, address }: ServiceRow) => address === "*" ? 2 : from === "inside" ? 0 : 1;
  return sortBy(
    rows,
    (row) => row.namespace,
    (row) => row.service,
    (row) => row.port,
    (row) => row.protocol,
    rank,
    (row) => row.address,
    (row) => row.from,
  );
}

function isWanted(filter: Filter, { namespace, service }: PortName): boolean {
  if (filter.service !== undefined && filter.service !== `${namespace}/${service}`) return false;
  return isNamed(filter, namespace, service);
}

function algorithmOf({ flags, total_weight }: Service): ServiceRow["algorithm"] {
  if (flags & SERVICE_FLAG.MAGLEV) return "maglev";
  return total_weight > 0 ? "weighted" : "random";
}

function sourceRanges({ maps }: NodeReader): Map<number, string[]> {
  const found = new Map<number, string[]>();
  for (const [{ prefixlen, service_id, addr }] of maps.source_ranges.entries()) {
    const list = found.get(service_id) ?? [];
    found.set(service_id, list);
    list.push(`${addr}/${prefixlen - 32}`);
  }
  return found;
}

/** The backends of every port, each once although several entries point to it. */
export function readBackends(node: NodeReader, filter: Filter): BackendRow[] {
  const rows = new Map<string, BackendRow>();
  const runs = new Map<string, ReturnType<typeof readRun>>();
  const nodes = remoteNodes(node);
  for (const [key, entry] of node.maps.services.entries()) {
    if (entry.flags & SERVICE_FLAG.ADDRESS || entry.count === 0) continue;
    const port = parsePortName(node.portName(entry.id));
    if (!isWanted(filter, port)) continue;
    const from = key.scope === SCOPE.CLUSTER ? "inside" : "outside";
    const run = `${entry.first} ${entry.count}`;
    if (!runs.has(run)) runs.set(run, readRun(node, entry));
    for (const backend of runs.get(run)!) {
      const pod = node.pods.get(backend.address)?.pod;
      if (filter.pod !== undefined && filter.pod !== pod && filter.pod !== backend.address) {
        continue;
      }
      const name = `${port.namespace}/${port.service}`;
      const id = `${name} ${port.port} ${key.proto} ${backend.address}:${backend.backendPort}`;
      const other = rows.get(id);
      if (other !== undefined) {
        if (other.from !== from) other.from = "anywhere";
        continue;
      }
      const where = node.maps.endpoints.get({ addr: backend.address })
        ? "this node"
        : nodes(backend.address);
      rows.set(id, {
        name,
        ...port,
        ...backend,
        protocol: protocolName(key.proto),
        pod: pod || undefined,
        node: where,
        from,
      });
    }
  }
  return sortBy(
    [...rows.values()],
    (row) => row.namespace,
    (row) => row.service,
    (row) => row.port,
    (row) => row.protocol,
    (row) => row.address,
    (row) => row.backendPort,
  );
}

function readRun({ maps }: NodeReader, { first, count, total_weight }: Service) {
  let before = 0;
  return maps.backends.range(first, count).map(({ addr, port, flags, weight_end }) => {
    const weight = total_weight > 0 ? weight_end - before : 1;
    before = weight_end;
    const terminating = (flags & BACKEND_FLAG.TERMINATING) !== 0;
    return { address: addr, backendPort: port, weight, terminating };
  });
}

/** The node that a pod's address is on, by the kernel's own table of remote pods. */
function remoteNodes(node: NodeReader): (address: string) => string | undefined {
  return (address) => {
    const remote = node.maps.remotes.get({ prefixlen: 32, addr: address });
    return remote && (node.nodeName(remote.via) ?? remote.via);
  };
}

/** `pcnk get services` */
export const services: Resource<ServiceRow> = {
  name: "services",
  aliases: ["service", "svc"],
  help: "addresses and ports of Services, with the number of backends",
  read: readServices,
  columns: [
    { title: "NAMESPACE", value: (row) => row.namespace },
    { title: "NAME", value: (row) => row.service },
    { title: "PORT", value: formatPort },
    { title: "FRONTEND", value: ({ address, frontendPort }) => `${address}:${frontendPort}` },
    { title: "FROM", value: (row) => row.from },
    { title: "BACKENDS", value: (row) => String(row.backends) },
    { title: "ALGORITHM", wide: true, value: (row) => row.algorithm },
    {
      title: "AFFINITY",
      wide: true,
      value: ({ affinitySeconds }) => affinitySeconds === 0 ? "none" : `${affinitySeconds}s`,
    },
    { title: "LOCAL", wide: true, value: ({ localOnly }) => localOnly ? "only" : "no" },
    {
      title: "CLIENTS",
      wide: true,
      value: ({ sourceRanges }) => sourceRanges.length === 0 ? "all" : sourceRanges.join(","),
    },
    { title: "ID", wide: true, value: (row) => String(row.id) },
  ],
};

/** `pcnk get backends` */
export const backends: Resource<BackendRow> = {
  name: "backends",
  aliases: ["backend", "be"],
  help: "backends of each Service",
  read: readBackends,
  columns: [
    { title: "NAMESPACE", value: (row) => row.namespace },
    { title: "NAME", value: (row) => row.service },
    { title: "PORT", value: formatPort },
    { title: "BACKEND", value: ({ address, backendPort }) => `${address}:${backendPort}` },
    { title: "NODE", value: ({ node }) => node ?? "unknown" },
    { title: "POD", value: ({ pod }) => pod ?? "" },
    { title: "STATE", value: ({ terminating }) => terminating ? "terminating" : "serving" },
    { title: "WEIGHT", wide: true, value: ({ weight }) => String(weight) },
    { title: "FROM", wide: true, value: (row) => row.from },
  ],
};

/**
 * ClusterIPs that are also addresses of this node, as NodeLocal DNS binds them: what pods send there goes to the Service's
 * endpoints. kube-ipvs0 of an IPVS kube-proxy has them all, and no process.
 */
export function ownAddressFindings(node: NodeReader): Finding[] {
  const devices = new Map(
    node.nl.addrs().map(({ address, ifindex }) => [address, node.device(ifindex)]),
  );
  const found = new Map<string, string>();
  for (const { address, from, name } of readServices(node, { names: [] })) {
    const device = from === "inside" ? devices.get(address) : undefined;
    if (device === undefined || device === "kube-ipvs0") continue;
    found.set(
      address,
      `${address} of Service ${name} is also an address of this node (${device}): pods and this node's processes reach the ` +
        "Service's endpoints, not what listens there",
    );
  }
  return [...found.values()].map((text) => ({
    part: "services",
    health: "note",
    text,
    next:
      "bind a cache such as NodeLocal DNS to a link-local address only, and name that in the kubelet's clusterDNS",
  }));
}
