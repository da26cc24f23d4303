/** The node's chain of services: which program is on which device, and what is behind it; as data, as text and as SVG. */
import { listCgroupHooks } from "../bpf/cgroup.ts";
import type { NodeReader } from "./node.ts";
import { readEndpoints, readNodes } from "./network.ts";
import { type Paint, widthOf, wrap } from "./terminal.ts";

/** A device with what of pcnk is on it. */
export interface TopologyDevice {
  name: string;
  /** Programs, `lbrp_from_pod` and the like; empty: none, which is wrong where one belongs. */
  programs: string[];
}

/** Everything between the node's pods and the world. */
export interface Topology {
  pods: (TopologyDevice & { pod: string; address: string })[];
  /** Where the node's stack reaches the pods. */
  bridges: TopologyDevice[];
  /** Ways to other nodes, and what is at their ends. */
  tunnels: (TopologyDevice & { nodes: string[] })[];
  uplinks: (TopologyDevice & { address: string; nodes: string[] })[];
  /** Socket hooks of the node's own processes. */
  hostHooks: number;
}

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

/** Names of an element's ends, so many at most. */
function some(names: readonly string[], limit: number): string[] {
  return names.length <= limit
    ? [...names]
    : [...names.slice(0, limit), `… ${names.length - limit} more`];
}

/** The elements of the drawing, from the pods to the world. */
function elements({ pods, bridges, tunnels, uplinks, hostHooks }: Topology, limit: number) {
  const boxed = (programs: readonly string[]) => {
    const services = [
      ...new Set(programs.map((name) => name.startsWith("lbrp") ? "lbrp" : "k8sdispatcher")),
    ];
    return services.length === 0 ? "[nothing]" : `[${services.join(" ")}]`;
  };
  const left = pods.slice(0, limit).map(({ pod, address, name, programs }) => ({
    label: `${pod || "pod"} ${address}`,
    device: name,
    box: boxed(programs),
  }));
  if (pods.length > limit) {
    left.push({ label: `… ${pods.length - limit} more pods`, device: "", box: "" });
  }
  left.push({
    label: "the node's own processes",
    device: "connect()",
    box: hostHooks > 0 ? "[hostlb]" : "[nothing]",
  });
  const middle = bridges.map(({ name, programs }) => `${name} ${boxed(programs)}`);
  const right = [
    ...tunnels.map(({ name, programs, nodes }) => ({
      label: `${name} ${boxed(programs)}`,
      ends: some(nodes, limit),
    })),
    ...uplinks.map(({ name, programs, address, nodes }) => ({
      label: `${name} ${address} ${boxed(programs)}`,
      ends: [...some(nodes, limit), "the world"],
    })),
  ];
  return { left, middle, right };
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
    ...middle.map((text) => `  ${text}`),
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
    ...middle.map((text) => `${indent}├─ ${color(text)}   what the stack sends to pods`),
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

const escape = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Of 13 px text, the widest that is usual. */
const CHARACTER = 8.1;
/** Longer names lose their middle: the ends tell Pods of one Deployment apart. */
const LONGEST = 56;

function shortened(text: string): string {
  const characters = [...text];
  if (characters.length <= LONGEST) return text;
  const half = (LONGEST - 1) / 2;
  return [...characters.slice(0, Math.ceil(half)), "…", ...characters.slice(-Math.floor(half))]
    .join("");
}

function boxWidthOf(text: string): number {
  return Math.ceil([...shortened(text)].length * CHARACTER) + 20;
}

/** What is behind a device stands so far to the right of it, pixels. */
const END_INDENT = 50;

/** Where the picture's columns begin, from the widths of the boxes on the left and on the right. Pixels. */
function columnsOf(left: number[], right: number[]) {
  const podWidth = Math.max(250, ...left), wireStart = 20 + podWidth;
  const boxStart = wireStart + 130, boxWidth = 130, bus = boxStart + boxWidth + 30;
  const rightStart = bus + 40, rightWidth = Math.max(350, ...right);
  const width = rightStart + rightWidth + 30;
  return { podWidth, wireStart, boxStart, boxWidth, bus, rightStart, rightWidth, width };
}

/** The same as a picture that stands alone. Pixels; boxes are as wide as the longest name in their column. */
export function topologySvg(topology: Topology, limit = 24): string {
  const { left, middle, right } = elements(topology, limit);
  const row = 34, top = 40;
  const rightRows = right.flatMap((
    { label, ends },
  ) => [{ text: label, end: false }, ...ends.map((text) => ({ text, end: true }))]);
  const rows = [...middle.map((text) => ({ text, end: false })), ...rightRows];
  const height = top + Math.max(left.length, rows.length) * row + 20;
  const { podWidth, wireStart, boxStart, boxWidth, bus, rightStart, rightWidth, width } = columnsOf(
    left.map(({ label }) => boxWidthOf(label)),
    rows.map(({ text, end }) => boxWidthOf(text) + (end ? END_INDENT : 0)),
  );
  const text = (x: number, y: number, content: string, style = "") =>
    `<text x="${x}" y="${y + 5}"${style}>${escape(shortened(content))}</text>`;
  const box = (x: number, y: number, width: number, content: string) => {
    const fill = content.includes("[nothing]")
      ? "#fbd5d5"
      : content.includes("[")
      ? "#d9f2e3"
      : "#eef1f6";
    return `<rect x="${x}" y="${y - 13}" width="${width}" height="26" rx="5" fill="${fill}"/>` +
      text(x + 10, y, content);
  };
  const parts = left.map(({ label, device, box: service }, i) => {
    const y = top + i * row;
    const wire = service === "" ? "" : `<path d="M${wireStart} ${y}H${bus}"/>`;
    return wire + box(20, y, podWidth, label) +
      (service === "" ? "" : text(wireStart + 15, y - 9, device, ' class="small"') +
        box(boxStart, y, boxWidth, service));
  });
  let device = top;
  let lastDevice = 0;
  rows.forEach(({ text: content, end }, i) => {
    const y = top + i * row;
    if (!end) device = y, lastDevice = i;
    const wire = end
      ? `M${rightStart + 25} ${device + 13}V${y}H${rightStart + END_INDENT}`
      : `M${bus} ${y}H${rightStart}`;
    const indent = end ? END_INDENT : 0;
    parts.push(
      `<path d="${wire}"/>` + box(rightStart + indent, y, rightWidth - indent, content),
    );
  });
  const spine = `<path d="M${bus} ${top}V${top + Math.max(left.length - 1, lastDevice) * row}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>The node's chain of services</title>
<style>text{font:13px system-ui,sans-serif;fill:#1c2733}.small{font-size:11px;fill:#5a6b7b}path{stroke:#8a9bab;stroke-width:1.5;fill:none}</style>
<rect width="${width}" height="${height}" fill="#fff"/>
${spine}
${parts.join("\n")}
</svg>
`;
}
