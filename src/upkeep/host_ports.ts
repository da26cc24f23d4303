/** hostPorts of this node's pods, which CNI calls enter, and limits on pods' devices, which other programs set. */
import { PROTO } from "../abi/enums.ts";
import { deviceRates, knownRates, setLimited, setRates } from "../bpf/rates.ts";
import { RATE_FLAG } from "../bpf/layout.ts";
import { portSwitches } from "../bpf/segment.ts";
import { hostPortEntry } from "../node/attachments.ts";
import type { Fault, NodeState } from "./fault.ts";
import { devicesOf, podName } from "./pods.ts";

const NEXT = "restart the agent, which mends it; see its log";

/** The map `host_ports`, against the records of pods whose device is there. Ports of pods that are gone are dropped. */
export function hostPortFaults(node: NodeState): Fault[] {
  const { host_ports: ports, endpoints } = node.dataPlane.maps;
  const name = ({ addr, port, proto }: { addr: string; port: number; proto: number }) =>
    `${addr === "0.0.0.0" ? "" : `${addr}:`}${port}/${proto === PROTO.TCP ? "tcp" : "udp"}`;
  const stale = ports.entries().filter(([, { addr }]) => endpoints.get({ addr }) === undefined)
    .map(([key, { addr }]): Fault => ({
      object: `hostPort ${name(key)} of ${addr}`,
      text: `the hostPort ${name(key)} leads to ${addr}, a pod that is gone`,
      next: NEXT,
      fresh: true,
      mend: () => void ports.delete(key),
    }));
  const missing = devicesOf(node).flatMap(([record, link]) => {
    const { addresses: [first], portMappings = [], hostIfindex, mac } = record;
    if (link === undefined || first === undefined || portMappings.length === 0) return [];
    const endpoint = endpoints.get({ addr: first.address });
    if (endpoint?.ifindex !== hostIfindex || endpoint.mac !== mac) return [];
    return portMappings.map((mapping) => hostPortEntry(mapping, first.address))
      .filter(({ key, value }) => {
        const held = ports.get(key);
        return held === undefined || held.addr === value.addr && held.port !== value.port;
      })
      .map(({ key, value }): Fault => ({
        object: `hostPort ${name(key)} of ${value.addr}`,
        text: `the hostPort ${name(key)} of pod ${podName(record)} is not in the map host_ports`,
        next: NEXT,
        mend: () => ports.set(key, value),
      }));
  });
  return [...stale, ...missing];
}

/** Limits that were set on pods' devices since their ADD, or went: the programs must know them to honour them. */
export function rateFaults(node: NodeState): Fault[] {
  const { nl, dataPlane: { maps } } = node;
  const { rates } = maps;
  return devicesOf(node).flatMap(([record, link]): Fault[] => {
    if (link === undefined) return [];
    const flags = deviceRates(nl, link);
    // An agent of a release before did not say that there is a limit.
    const said = !(flags & RATE_FLAG.EGRESS) || knownRates(rates, 0) !== 0;
    if (said && flags === knownRates(rates, link.index)) return [];
    return [{
      object: `limits of ${link.name}`,
      text: `the limits on ${link.name}, the device of pod ${podName(record)}, have changed`,
      next: NEXT,
      fresh: true,
      mend: () => {
        // What it sends to other pods goes by the bridge from now on: its port first. That of one without is segmentFaults'.
        if (flags & RATE_FLAG.EGRESS && link.portLimits?.includes("isolated")) {
          setLimited(rates);
          nl.setPort(link.index, portSwitches(maps, link.index, flags));
        }
        setRates(rates, link.index, flags);
      },
    }];
  });
}
