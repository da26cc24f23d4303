/** `endpoints`, `nodes` and `routes`: pods of this node, and how it reaches those of the others. */
import { REMOTE_MODE } from "../bpf/layout.ts";
import { ROUTE_PROTOCOL } from "../routing/diff.ts";
import type { NodeReader } from "./node.ts";
import { type Filter, named, type Resource, type Row, sortBy } from "./resource.ts";

/** A pod of this node. */
export interface EndpointRow extends Row {
  address: string;
  /** `namespace/name`; empty: unknown. */
  pod: string;
  /** Host end of its veth pair; `#7` when it is gone. */
  device: string;
  mac: string;
  gateway: string;
  /** How lbrp is on its device. */
  attached: "tcx" | "clsact" | "no";
}

export function readEndpoints(node: NodeReader, filter: Filter): EndpointRow[] {
  const modes = new Map(
    node.attachments.filter(({ name, direction }) =>
      name === "lbrp_from_pod" && direction === "ingress"
    ).map(({ ifindex, mode }) => [ifindex, mode]),
  );
  const rows = node.maps.endpoints.entries().map((
    [{ addr }, { ifindex, mac, gateway }],
  ): EndpointRow => ({
    name: addr,
    address: addr,
    pod: node.pods.get(addr)?.pod ?? "",
    device: node.device(ifindex),
    mac,
    gateway,
    attached: modes.get(ifindex) ?? "no",
  }));
  const wanted = rows.filter(({ address, pod }) => {
    if (filter.namespace !== undefined && !pod.startsWith(`${filter.namespace}/`)) return false;
    if (filter.pod !== undefined && filter.pod !== pod && filter.pod !== address) return false;
    return filter.names.length === 0 || filter.names.includes(address) ||
      filter.names.includes(pod);
  });
  return sortBy(wanted, (row) => row.address);
}

/** `pcnk get endpoints` */
export const endpoints: Resource<EndpointRow> = {
  name: "endpoints",
  aliases: ["endpoint", "ep", "pods"],
  help: "local pods",
  read: readEndpoints,
  columns: [
    { title: "ADDRESS", value: (row) => row.address },
    { title: "POD", value: (row) => row.pod },
    { title: "DEVICE", value: (row) => row.device },
    { title: "ATTACHED", value: (row) => row.attached },
    { title: "MAC", wide: true, value: (row) => row.mac },
    { title: "GATEWAY", wide: true, value: (row) => row.gateway },
  ],
};

/** A podCIDR of another node, and the path to it. */
export interface NodeRow extends Row {
  podCIDR: string;
  mode: "overlay" | "direct" | "routed";
  /** The tunnel's far end, or the next hop. */
  via: string;
  /** Empty: by the node's own routes. */
  device: string;
  /** MTU of this path; 0: any. */
  mtu: number;
  vni: number;
  mac: string;
}

const MODES: Readonly<Record<number, NodeRow["mode"]>> = {
  [REMOTE_MODE.ROUTED]: "routed",
  [REMOTE_MODE.OVERLAY]: "overlay",
  [REMOTE_MODE.DIRECT]: "direct",
};

export function readNodes(node: NodeReader, filter: Filter): NodeRow[] {
  const rows = node.maps.remotes.entries().map(([{ prefixlen, addr }, remote]): NodeRow => ({
    name: node.nodeName(remote.via) ?? remote.via,
    podCIDR: `${addr}/${prefixlen}`,
    mode: MODES[remote.mode] ?? "routed",
    via: remote.via,
    device: remote.ifindex === 0 ? "" : node.device(remote.ifindex),
    mtu: remote.mtu,
    vni: remote.vni,
    mac: remote.mac,
  }));
  return sortBy(named(rows, filter), (row) => row.name, (row) => row.podCIDR);
}

/** `pcnk get nodes` */
export const nodes: Resource<NodeRow> = {
  name: "nodes",
  aliases: ["node", "no"],
  help: "podCIDRs of other nodes, and the path to each",
  read: readNodes,
  columns: [
    { title: "NAME", value: (row) => row.name },
    { title: "PODCIDR", value: (row) => row.podCIDR },
    { title: "MODE", value: (row) => row.mode },
    { title: "VIA", value: (row) => row.via },
    { title: "DEVICE", value: (row) => row.device },
    { title: "MTU", value: ({ mtu }) => mtu === 0 ? "any" : String(mtu) },
    { title: "VNI", wide: true, value: ({ mode, vni }) => mode === "overlay" ? String(vni) : "" },
    { title: "MAC", wide: true, value: ({ mode, mac }) => mode === "overlay" ? mac : "" },
  ],
};

/** A route that pcnk has made, for what the node itself sends to pods. */
export interface RouteRow extends Row {
  destination: string;
  /** As `ip route` has it: unicast, or unreachable for addresses of this node's podCIDR that no pod has. */
  type: string;
  gateway: string;
  device: string;
  source: string;
  mtu: number;
  /** Far end of the tunnel; empty: none. */
  tunnel: string;
}

function readRoutes(node: NodeReader, filter: Filter): RouteRow[] {
  const rows = node.nl.routes().filter(({ protocol }) => protocol === ROUTE_PROTOCOL)
    .map((route): RouteRow => ({
      name: route.destination,
      destination: route.destination,
      type: route.type ?? "unicast",
      gateway: route.gateway ?? "",
      device: route.ifindex === undefined ? "" : node.device(route.ifindex),
      source: route.source ?? "",
      mtu: route.mtu ?? 0,
      tunnel: route.encap?.destination ?? "",
    }));
  return sortBy(named(rows, filter), (row) => row.destination);
}

/** `pcnk get routes` */
export const routes: Resource<RouteRow> = {
  name: "routes",
  aliases: ["route"],
  help: "routes of pcnk, for packets of the node itself to pods",
  read: readRoutes,
  columns: [
    { title: "DESTINATION", value: (row) => row.destination },
    { title: "TYPE", value: (row) => row.type },
    { title: "GATEWAY", value: (row) => row.gateway },
    { title: "DEVICE", value: (row) => row.device },
    { title: "TUNNEL", value: (row) => row.tunnel },
    { title: "SOURCE", wide: true, value: (row) => row.source },
    { title: "MTU", wide: true, value: ({ mtu }) => mtu === 0 ? "" : String(mtu) },
  ],
};
