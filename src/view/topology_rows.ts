/** The model that both drawings of the topology have: everything between the node's pods and the world, row by row. */

/** A device with pcnk's programs on it. */
interface TopologyDevice {
  name: string;
  /** Programs, `lbrp_from_pod` and the like; empty: none, which is wrong where one belongs. */
  programs: string[];
}

export interface Topology {
  pods: (TopologyDevice & { pod: string; address: string })[];
  /** By which the node's stack reaches the pods. */
  bridges: TopologyDevice[];
  tunnels: (TopologyDevice & { nodes: string[] })[];
  uplinks: (TopologyDevice & { address: string; nodes: string[] })[];
  /** Socket hooks of the node's own processes. */
  hostHooks: number;
}

/** Stands where a program is missing. */
export const NOTHING = "[nothing]";

export interface TopologyRow {
  /** `[lbrp]`, `[k8sdispatcher]`, `[hostlb]`, NOTHING; empty: the row only counts pods that are not shown. */
  service: string;
  device: string;
  label: string;
  /** What is behind the device. */
  ends: readonly string[];
}

/** @param limit pods and nodes to show, at most */
export function topologyRows(
  { pods, bridges, tunnels, uplinks, hostHooks }: Topology,
  limit: number,
): { pods: TopologyRow[]; devices: TopologyRow[] } {
  const own = {
    service: hostHooks > 0 ? "[hostlb]" : NOTHING,
    device: "connect()",
    label: "the node's own processes",
    ends: [],
  };
  const shown = pods.slice(0, limit).map((pod): TopologyRow => ({
    service: serviceOf(pod),
    device: pod.name,
    label: `${pod.pod || "pod"} ${pod.address}`,
    ends: [],
  }));
  const more = { service: "", device: "", label: `… ${pods.length - limit} more pods`, ends: [] };
  const row = (device: TopologyDevice, label: string, ends: string[]) => ({
    service: serviceOf(device),
    device: device.name,
    label,
    ends,
  });
  return {
    pods: [...shown, ...pods.length > limit ? [more] : [], own],
    devices: [
      ...bridges.map((bridge) => row(bridge, "from the stack to pods", [])),
      ...tunnels.map((tunnel) => row(tunnel, "", some(tunnel.nodes, limit))),
      ...uplinks.map((uplink) =>
        row(uplink, uplink.address, [...some(uplink.nodes, limit), "the world"])
      ),
    ],
  };
}

function serviceOf({ programs }: TopologyDevice): string {
  const names = programs.map((name) => name.startsWith("lbrp") ? "lbrp" : "k8sdispatcher");
  return names.length === 0 ? NOTHING : `[${[...new Set(names)].join(" ")}]`;
}

function some(names: readonly string[], limit: number): string[] {
  if (names.length <= limit) return [...names];
  return [...names.slice(0, limit), `… ${names.length - limit} more`];
}
