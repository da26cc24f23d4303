/** The node's chain of services: which program is on which device, and what is behind it; as data and as text. */
import { listCgroupHooks } from "../bpf/cgroup.ts";
import type { NodeReader } from "./node.ts";
import { readEndpoints, readNodes } from "./network.ts";
import { elements, type Topology } from "./picture.ts";
import { type Paint, widthOf, wrap } from "./terminal.ts";

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

/** Programs in their boxes, in colour: red where one is missing. */
function colored(text: string, paint: Paint): string {
  return text.replaceAll(
    /\[[^\]]*\]/g,
    (box) => paint(box === "[nothing]" ? "red" : "green", box),
  );
}

/** Lines for a terminal: the drawing, or a list where that is wider than the terminal. */
export function renderTopology(
  topology: Topology,
  paint: Paint,
  limit = 12,
  width = Infinity,
): string {
  const drawn = drawTopology(topology, paint, limit);
  const tooWide = drawn.split("\n").some((line) => widthOf(line) > width);
  return tooWide ? listTopology(topology, paint, limit, width) : drawn;
}

/** The same as a list, for narrow terminals. */
function listTopology(topology: Topology, paint: Paint, limit: number, width: number): string {
  const { left, middle, right } = elements(topology, limit);
  const lines = [
    paint("bold", "pods, and the node's own processes"),
    ...left.flatMap(({ label, device, box }) => [
      `  ${label}`,
      ...(device === "" ? [] : [`    ${device} ${box}`]),
    ]),
    paint("bold", "from the node's stack to pods"),
    ...middle.map(({ label }) => `  ${label}`),
    paint("bold", "to other nodes and the world"),
    ...right.flatMap(({ label, ends }) => [`  ${label}`, ...ends.map((end) => `    ${end}`)]),
  ];
  return lines.flatMap((line) => {
    const indent = " ".repeat(line.search(/\S/));
    return wrap(line.trimStart(), width - indent.length).map((part) =>
      indent + colored(part, paint)
    );
  }).join("\n");
}

function drawTopology(topology: Topology, paint: Paint, limit: number): string {
  const { left, middle, right } = elements(topology, limit);
  const color = (text: string) => colored(text, paint);
  const widths = [
    Math.max(...left.map(({ label }) => label.length)),
    Math.max(...left.map(({ device }) => device.length)),
  ];
  const lines = left.map(({ label, device, box }, i) => {
    const corner = i === 0 ? "┐" : "┤";
    const wire = `── ${device.padEnd(widths[1]!)} ── ${box.padEnd(9)} ─${corner}`;
    return `  ${label.padEnd(widths[0]!)} ${
      color(box === "" ? wire.replaceAll("─", " ").replace(/.$/, corner) : wire)
    }`;
  });
  const indent = " ".repeat(widths[0]! + widths[1]! + 21);
  const rest = [
    `${indent}│`,
    ...middle.map(({ label }) => `${indent}├─ ${color(label)}   what the stack sends to pods`),
    ...right.flatMap(({ label, ends }, i) => {
      const last = i === right.length - 1;
      return [
        `${indent}${last ? "└" : "├"}─ ${color(label)}`,
        ...ends.map((end, j) =>
          `${indent}${last ? " " : "│"}     ${j === ends.length - 1 ? "└" : "├"}─ ${end}`
        ),
      ];
    }),
  ];
  return [...lines, ...rest].join("\n");
}
