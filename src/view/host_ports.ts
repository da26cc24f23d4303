/** `hostports`: ports of this node that lead to its pods. */
import { SCOPE } from "../bpf/layout.ts";
import { joinHostPort } from "../net/host_port.ts";
import type { Finding } from "./finding.ts";
import { protocolName } from "./names.ts";
import type { NodeReader } from "./node.ts";
import { type Filter, type Resource, type Row, sortBy } from "./resource.ts";

/** A hostPort. */
export interface HostPortRow extends Row {
  /** `0.0.0.0:8080`: at every address of the node. */
  host: string;
  protocol: string;
  /** `namespace/name`; empty: unknown. */
  pod: string;
  /** The pod's address and port. */
  target: string;
  /** The NodePort that has the same port, and gets its traffic: `default/web:80/TCP`; empty: none. */
  hiddenBy: string;
}

function readHostPorts(node: NodeReader, filter: Filter): HostPortRow[] {
  const rows = node.maps.host_ports.entries().map(
    ([{ addr, port, proto }, target]): HostPortRow => {
      const [host, protocol] = [joinHostPort(addr, port), protocolName(proto)];
      const nodePort = { addr: "0.0.0.0", port, proto, scope: SCOPE.EXTERNAL };
      const service = node.maps.services.get(nodePort);
      return {
        name: `${host}/${protocol}`,
        host,
        protocol,
        pod: node.pods.get(target.addr)?.pod ?? "",
        target: joinHostPort(target.addr, target.port),
        hiddenBy: service === undefined ? "" : node.portName(service.id),
      };
    },
  );
  const { namespace, pod, names } = filter;
  const wanted = rows.filter((row) =>
    (namespace === undefined || row.pod.startsWith(`${namespace}/`)) &&
    (pod === undefined || pod === row.pod || row.target.startsWith(`${pod}:`)) &&
    (names.length === 0 || names.includes(row.name) || names.includes(row.pod))
  );
  return sortBy(wanted, (row) => row.host, (row) => row.protocol);
}

/** `pcnk get hostports` */
export const hostPorts: Resource<HostPortRow> = {
  name: "hostports",
  aliases: ["hostport", "hp"],
  help: "hostPorts of local pods",
  read: readHostPorts,
  columns: [
    { title: "HOST", value: (row) => row.host },
    { title: "PROTOCOL", value: (row) => row.protocol },
    { title: "POD", value: (row) => row.pod },
    { title: "TARGET", value: (row) => row.target },
    { title: "HIDDEN-BY", value: (row) => row.hiddenBy },
  ],
};

/** How many there are, and those that a NodePort hides; nothing without any. */
export function hostPortFindings(node: NodeReader): Finding[] {
  const part = "services";
  const rows = readHostPorts(node, { names: [] });
  const hidden = rows.filter(({ hiddenBy }) => hiddenBy !== "");
  if (hidden.length > 0) {
    return hidden.map(({ name, pod, hiddenBy }): Finding => ({
      part,
      health: "warn",
      text:
        `hostPort ${name} of pod ${pod} gets no new connections: it is the NodePort of ${hiddenBy}`,
      next: "give one of them another port",
    }));
  }
  const text = `${rows.length} hostPorts lead to pods (pcnk get hostports)`;
  return rows.length === 0 ? [] : [{ part, health: "ok", text }];
}
