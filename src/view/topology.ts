/** The node's topology: which program is on which device, and what is behind it; read, and as text. */
import { listCgroupHooks } from "../bpf/cgroup.ts";
import type { NodeReader } from "./node.ts";
import { readEndpoints, readNodes } from "./network.ts";
import { type Paint, widthOf, wrap } from "./terminal.ts";
import { NOTHING, type Topology, type TopologyRow, topologyRows } from "./topology_rows.ts";

export function readTopology(node: NodeReader): Topology {
  const on = (device: string) =>
    node.attachments.filter(({ ifindex }) => node.device(ifindex) === device)
      .map(({ name }) => name).sort();
  const peers = readNodes(node, { names: [] });
  const nodesBy = (device: string, direct: boolean) =>
    peers.filter((peer) => (peer.mode === "direct") === direct && peer.device === device)
      .map(({ name, podCIDR }) => `${name} ${podCIDR}`);
  const tunnels = [
    ...new Set(peers.filter(({ mode }) => mode === "overlay").map(({ device }) => device)),
  ];
  const bridges = node.attachments.filter(({ name }) => name === "lbrp_to_pod");
  return {
    pods: readEndpoints(node, { names: [] }).map(({ pod, address, device }) => ({
      pod,
      address,
      name: device,
      programs: on(device),
    })),
    bridges: bridges.map(({ ifindex }) => ({
      name: node.device(ifindex),
      programs: on(node.device(ifindex)),
    })),
    tunnels: tunnels.map((name) => ({ name, programs: on(name), nodes: nodesBy(name, false) })),
    uplinks: node.maps.uplinks.entries().map(([{ ifindex }, { addr }]) => {
      const name = node.device(ifindex);
      return { name, programs: on(name), address: addr, nodes: nodesBy(name, true) };
    }),
    hostHooks: listCgroupHooks(node.place.bpffs).length,
  };
}

/**
 * A tree from the pods to the world.
 *
 * @param limit pods and nodes to show, at most
 * @param width columns of the terminal
 */
export function renderTopology(
  topology: Topology,
  paint: Paint,
  limit = 12,
  width = Infinity,
): string {
  const { pods, devices } = topologyRows(topology, limit);
  const rows = [...pods, ...devices];
  const widest = (of: (row: TopologyRow) => string) =>
    Math.max(...rows.map((row) => widthOf(of(row))));
  const [service, device] = [widest((row) => row.service), widest((row) => row.device)];
  const tooWide = 8 + service + device + widest(({ label }) => label) > width;
  const lines = rows.flatMap((row, i) => {
    const last = i === rows.length - 1;
    const color = row.service === NOTHING ? "red" : "green";
    const program = paint(color, row.service) + " ".repeat(service - widthOf(row.service));
    const below = tooWide && row.service !== "" && row.label !== "";
    const label = below ? "" : row.label;
    const head = row.service === "" ? label : `${program} ${row.device.padEnd(device)}  ${label}`;
    const ends = below ? [row.label, ...row.ends] : row.ends;
    return [
      `  ${i === 0 ? "┌" : last ? "└" : "├"}─ ${head}`.trimEnd(),
      ...ends.flatMap((end, j) => {
        const indent = `  ${last ? " " : "│"}     `;
        const [first, ...rest] = wrap(end, width - indent.length - 3);
        const isLast = j === ends.length - 1;
        return [
          `${indent}${isLast ? "└" : "├"}─ ${first}`,
          ...rest.map((part) => `${indent}${isLast ? " " : "│"}  ${part}`),
        ];
      }),
      ...i === pods.length - 1 ? ["  │"] : [],
    ];
  });
  return lines.join("\n");
}
